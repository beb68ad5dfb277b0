"""An idempotent producer with keys and headers, read back. Argument: BOOTSTRAP."""

import sys

from confluent_kafka import Consumer, Producer, TopicPartition

address = sys.argv[1]
COUNT = 5_000
producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 1})
places = {}


def delivered(error, message):
    assert error is None, error
    places[message.key()] = (message.partition(), message.offset())


for number in range(COUNT):
    key = b"key-%d" % number
    producer.produce("idempotent", b"value-%d" % number, key, headers={"n": b"%d" % number}, on_delivery=delivered)
    producer.poll(0)
assert producer.flush(30) == 0
assert len(places) == COUNT, len(places)

consumer = Consumer({"bootstrap.servers": address, "group.id": "reads-idempotent", "enable.auto.commit": False})
partitions = sorted({partition for partition, _ in places.values()})
consumer.assign([TopicPartition("idempotent", partition, 0) for partition in partitions])
seen = {}
while len(seen) < COUNT:
    message = consumer.poll(10)
    assert message is not None, f"only {len(seen)} of {COUNT} records came"
    assert message.error() is None, message.error()
    assert message.key() not in seen, f"{message.key()} came twice"
    number = int(message.key().split(b"-")[1])
    assert message.value() == b"value-%d" % number
    assert message.headers() == [("n", b"%d" % number)]
    assert places[message.key()] == (message.partition(), message.offset())
    seen[message.key()] = True
assert consumer.poll(1) is None
consumer.close()
print("ok")
