"""Writes compacted topics with all that compaction treats in a way of its own. Arguments: BOOTSTRAP, write | more | read.

`read` prints a JSON object of what a read_committed consumer gets: topic, then key, then the last value, or null."""

import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

address, what = sys.argv[1:]
# Tombstones and markers stay in the first for longer than the test lasts, and go at once from the second.
TOPICS = {"patient": "3600000", "hasty": "1"}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
TIME = 1_700_000_000_000


def flushed(producer):
    assert producer.flush(60) == 0


def everywhere(producer, value, key, **more):
    for topic in TOPICS:
        producer.produce(topic, value, key, **more)


def fill(count, first):
    """Keys that are soon replaced, so that segments end."""
    producer = Producer({"bootstrap.servers": address, "linger.ms": 1, "compression.type": "none"})
    for number in range(first, first + count):
        everywhere(producer, b"%d:" % number + b"f" * 500, b"filler-%d" % (number % 9), timestamp=TIME + number)
        if number % 10 == 0:
            flushed(producer)
    flushed(producer)


def write():
    admin = AdminClient({"bootstrap.servers": address})
    topics = [
        NewTopic(name, 1, 1, config={
            "segment.bytes": "16384", "index.interval.bytes": "512", "cleanup.policy": "compact",
            "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": retention, "file.delete.delay.ms": "0",
        })
        for name, retention in TOPICS.items()
    ]
    for future in admin.create_topics(topics).values():
        future.result(60)
    for codec in CODECS:
        producer = Producer({
            "bootstrap.servers": address, "compression.type": codec, "linger.ms": 20, "enable.idempotence": True,
        })
        for number in range(60):
            name = codec.encode()
            everywhere(producer, b"%s number %d " % (name, number) * 5, b"%s-%d" % (name, number % 40),
                       headers=[("codec", name), ("empty", None)], timestamp=TIME + number)
        everywhere(producer, None, b"%s-1" % name)
        everywhere(producer, None, b"never there in %s" % name)
        flushed(producer)
        # The last batch of this producer: it is replaced by another one's, and yet its sequence is to be known.
        everywhere(producer, b"the producer's last word", b"last word")
        flushed(producer)
    producers = []
    for name in ["one", "two", "three"]:
        producer = Producer({
            "bootstrap.servers": address, "transactional.id": name, "linger.ms": 0, "compression.type": "lz4",
        })
        producer.init_transactions(60)
        producers.append(producer)
    for round in range(48):
        producer = producers[round % 3]
        producer.begin_transaction()
        aborts = round % 2 == 1
        word = b"aborted" if aborts else b"committed"
        for number in range(4):
            everywhere(producer, b"%s in %d " % (word, round) * 20, b"transactional-%d" % ((round * 5 + number) % 11))
        if round < 12:
            everywhere(producer, b"%s once" % word, b"once-%d" % round)
        if round % 6 == 2:
            everywhere(producer, None, b"transactional-10")
        if aborts:
            flushed(producer)
            producer.abort_transaction(60)
        else:
            consumed = [TopicPartition("patient", 0, round)]
            reader = Consumer({"bootstrap.servers": address, "group.id": "readers"})
            producer.send_offsets_to_transaction(consumed, reader.consumer_group_metadata(), 60)
            reader.close()
            producer.commit_transaction(60)
    fill(200, 0)


def read():
    consumer = Consumer({
        "bootstrap.servers": address, "group.id": "all-kinds", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True,
    })
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in TOPICS])
    ended, last = set(), {topic: {} for topic in TOPICS}
    while len(ended) < len(TOPICS):
        message = consumer.poll(30)
        assert message is not None, "no answer"
        if message.error():
            assert message.error().name() == "_PARTITION_EOF", message.error()
            ended.add(message.topic())
            continue
        value = message.value()
        last[message.topic()][message.key().decode()] = None if value is None else value.decode()
    consumer.close()
    print(json.dumps(last))


{"write": write, "more": lambda: fill(100, 1000), "read": read}[what]()
