"""Writes topics of every kind and prints what a consumer reads of them. Arguments: BOOTSTRAP, write | read.

`read` prints one JSON line for each record that a read_committed consumer gets."""

import json
import random
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

address, what = sys.argv[1:]
TOPICS = ["codecs", "transactions", "compacted"]
SEGMENT = {"segment.bytes": "1048576", "index.interval.bytes": "1024"}


def flushed(producer):
    assert producer.flush(60) == 0


def write():
    admin = AdminClient({"bootstrap.servers": address})
    compacted = SEGMENT | {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.01",
        "delete.retention.ms": "3600000",
    }
    topics = [
        NewTopic("codecs", 1, 1, config=SEGMENT),
        NewTopic("transactions", 1, 1, config=SEGMENT),
        NewTopic("compacted", 1, 1, config=compacted),
    ]
    for future in admin.create_topics(topics).values():
        future.result(60)
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        producer = Producer({
            "bootstrap.servers": address, "compression.type": codec, "linger.ms": 50,
            "enable.idempotence": codec in ("lz4", "none"),
        })
        for number in range(200):
            producer.produce(
                "codecs", b"value %d in %s" % (number, codec.encode()), b"key-%d" % (number % 7),
                headers=[("codec", codec.encode()), ("empty", None)], timestamp=1_700_000_000_000 + number,
            )
        producer.produce("codecs", None, b"tombstone")
        producer.produce("codecs", b"", None)
        flushed(producer)
    filler = random.Random(7)
    text = lambda size: "".join(filler.choices("abcdefghijklmnopqrstuvwxyz", k=size)).encode()
    producers = []
    for name in ["one", "two", "three"]:
        producer = Producer({"bootstrap.servers": address, "transactional.id": name, "linger.ms": 0})
        producer.init_transactions(60)
        producers.append(producer)
    for round in range(60):
        producer = producers[round % 3]
        producer.begin_transaction()
        for number in range(10):
            producer.produce("transactions", text(4_000), b"%d-%d" % (round, number))
        producer.produce("compacted", b"in transaction %d" % round, b"transactional-%d" % (round % 5))
        if round % 4 == 3:
            flushed(producer)
            producer.abort_transaction(60)
        else:
            consumed = [TopicPartition("codecs", 0, round)]
            reader = Consumer({"bootstrap.servers": address, "group.id": "readers"})
            producer.send_offsets_to_transaction(consumed, reader.consumer_group_metadata(), 60)
            reader.close()
            producer.commit_transaction(60)
    plain = Producer({"bootstrap.servers": address, "linger.ms": 5, "compression.type": "lz4"})
    for number in range(5):
        plain.produce("compacted", None, b"gone-%d" % number)
    for round in range(4):
        for number in range(500):
            plain.produce("compacted", text(1_500), b"key-%d" % (number % 50))
        for number in range(10):
            plain.produce("compacted", None, b"key-%d" % number)
        flushed(plain)


def read():
    consumer = Consumer({
        "bootstrap.servers": address, "group.id": "all-kinds", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True,
    })
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in TOPICS])
    ended = set()
    while len(ended) < len(TOPICS):
        message = consumer.poll(30)
        assert message is not None, "no answer"
        if message.error():
            assert message.error().name() == "_PARTITION_EOF", message.error()
            ended.add(message.topic())
            continue
        text = lambda field: None if field is None else field.decode()
        print(json.dumps({
            "topic": message.topic(), "offset": message.offset(), "timestamp": message.timestamp()[1],
            "key": text(message.key()), "value": text(message.value()),
        }))
    consumer.close()


{"write": write, "read": read}[what]()
