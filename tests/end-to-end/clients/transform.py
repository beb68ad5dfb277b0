"""A transactional consume-transform-produce loop with aborts. Argument: BOOTSTRAP."""

import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

address = sys.argv[1]
RECORDS, BATCH = 1_000, 20
admin = AdminClient({"bootstrap.servers": address})
for future in admin.create_topics([NewTopic("raw", 2, 1), NewTopic("cooked", 2, 1)]).values():
    future.result(30)

plain = Producer({"bootstrap.servers": address})
for number in range(RECORDS):
    plain.produce("raw", b"%d" % number, partition=number % 2)
assert plain.flush(30) == 0


def reader(group, topic, isolation):
    consumer = Consumer({
        "bootstrap.servers": address,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": isolation,
        "enable.partition.eof": True,
    })
    consumer.subscribe([topic])
    return consumer


source = reader("cook", "raw", "read_committed")
cook = Producer({"bootstrap.servers": address, "transactional.id": "cook", "linger.ms": 0})
cook.init_transactions(30)


def next_batch():
    batch = []
    while len(batch) < BATCH:
        message = source.poll(10)
        assert message is not None, "the source dried up"
        if message.error() is None:
            batch.append(message)
        elif batch:
            break
    return batch


def rewind():
    positions = source.committed(source.assignment(), 30)
    for position in positions:
        source.seek(TopicPartition(position.topic, position.partition, max(position.offset, 0)))


done, rounds, aborted = 0, 0, 0
while done < RECORDS:
    batch = next_batch()
    cook.begin_transaction()
    for message in batch:
        cook.produce("cooked", b"cooked " + message.value(), partition=message.partition())
    cook.send_offsets_to_transaction(source.position(source.assignment()), source.consumer_group_metadata(), 30)
    rounds += 1
    if rounds % 3 == 0:
        cook.flush(30)
        cook.abort_transaction(30)
        aborted += 1
        rewind()
    else:
        cook.commit_transaction(30)
        done += len(batch)
source.close()
assert aborted > 0


def read_all(isolation):
    consumer = reader("eats-" + isolation, "cooked", isolation)
    values, ends = [], set()
    while len(ends) < 2:
        message = consumer.poll(10)
        assert message is not None, "no end of partition came"
        if message.error() is None:
            values.append(message.value())
        else:
            ends.add(message.partition())
    consumer.close()
    return values


committed = read_all("read_committed")
assert sorted(committed) == sorted(b"cooked %d" % number for number in range(RECORDS)), len(committed)
everything = read_all("read_uncommitted")
assert len(everything) > RECORDS, "the aborted records are in the log"

# What is open is hidden, and shown at once when it commits.
late = Producer({"bootstrap.servers": address, "transactional.id": "late", "linger.ms": 0})
late.init_transactions(30)
late.begin_transaction()
late.produce("cooked", b"late", partition=0)
late.flush(30)
assert b"late" not in read_all("read_committed")
late.commit_transaction(30)
consumer = reader("eats-late", "cooked", "read_committed")
values = []
while b"late" not in values:
    message = consumer.poll(10)
    assert message is not None
    if message.error() is None:
        values.append(message.value())
consumer.close()
print("ok")
