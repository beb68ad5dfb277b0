"""A consumer group of two with a rebalance. Argument: BOOTSTRAP. Leaves committed offsets behind."""

import sys
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

address = sys.argv[1]
PARTITIONS, RECORDS = 4, 400
admin = AdminClient({"bootstrap.servers": address})
for future in admin.create_topics([NewTopic("shared", PARTITIONS, 1)]).values():
    future.result(30)
producer = Producer({"bootstrap.servers": address})


def produce(first):
    for number in range(first, first + RECORDS):
        producer.produce("shared", b"%d" % number, partition=number % PARTITIONS)
    assert producer.flush(30) == 0


assigned = {"one": set(), "two": set()}


def member(name):
    consumer = Consumer({
        "bootstrap.servers": address,
        "group.id": "two-of-us",
        "client.id": name,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 200,
    })

    def on_assign(_, partitions):
        assigned[name] = {partition.partition for partition in partitions}

    def on_revoke(_, partitions):
        assigned[name] -= {partition.partition for partition in partitions}

    consumer.subscribe(["shared"], on_assign=on_assign, on_revoke=on_revoke)
    return consumer


def read(members, wanted, seen, limit=60):
    deadline = time.time() + limit
    while not wanted() and time.time() < deadline:
        for consumer in members:
            message = consumer.poll(0.05)
            if message is not None:
                assert message.error() is None, message.error()
                seen.append(int(message.value()))
                consumer.commit(message, asynchronous=False)
    assert wanted(), (assigned, len(seen))


produce(0)
one = member("one")
seen = []
read([one], lambda: len(seen) == RECORDS and len(assigned["one"]) == PARTITIONS, seen)

two = member("two")
read([one, two], lambda: len(assigned["one"]) == 2 and len(assigned["two"]) == 2, seen)
assert assigned["one"] | assigned["two"] == set(range(PARTITIONS))
produce(RECORDS)
read([one, two], lambda: len(seen) == 2 * RECORDS, seen)

one.close()
read([two], lambda: len(assigned["two"]) == PARTITIONS, seen)
assert sorted(seen) == list(range(2 * RECORDS)), "records were lost or came twice"
produce(2 * RECORDS)  # stays unread: the lag that `group describe` shows
two.close()
print("ok")
