"""Settings and deleted records through the admin client. Argument: BOOTSTRAP."""

import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

address = sys.argv[1]
admin = AdminClient({"bootstrap.servers": address})
for future in admin.create_topics([NewTopic("tuned", 1, 1)]).values():
    future.result(30)


def alter(kind, name, changes):
    entries = [ConfigEntry(key, value, incremental_operation=kind_of) for key, value, kind_of in changes]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def describe(kind, name):
    resource = ConfigResource(kind, name)
    return admin.describe_configs([resource])[resource].result(30)


SET, DELETE, APPEND = AlterConfigOpType.SET, AlterConfigOpType.DELETE, AlterConfigOpType.APPEND

# A topic's settings.
alter(ResourceType.TOPIC, "tuned", [("max.message.bytes", "2000", SET), ("cleanup.policy", "compact", APPEND)])
found = describe(ResourceType.TOPIC, "tuned")
assert found["max.message.bytes"].value == "2000"
assert found["max.message.bytes"].source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
assert found["cleanup.policy"].value == "delete,compact", found["cleanup.policy"].value
synonyms = found["max.message.bytes"].synonyms
assert synonyms["message.max.bytes"].source == ConfigSource.DEFAULT_CONFIG.value, synonyms

# It works at once.
producer = Producer({"bootstrap.servers": address, "linger.ms": 0})
errors = []
producer.produce("tuned", b"x" * 5000, b"k", on_delivery=lambda error, _: errors.append(error))
assert producer.flush(30) == 0
assert errors[0] is not None and errors[0].name() == "MSG_SIZE_TOO_LARGE", errors

alter(ResourceType.TOPIC, "tuned", [("max.message.bytes", None, DELETE), ("cleanup.policy", None, DELETE)])
found = describe(ResourceType.TOPIC, "tuned")
assert found["max.message.bytes"].source == ConfigSource.DEFAULT_CONFIG.value
assert found["cleanup.policy"].value == "delete"

# A wrong value is refused and says why.
try:
    alter(ResourceType.TOPIC, "tuned", [("retention.ms", "soon", SET)])
    raise AssertionError("a wrong value was taken")
except KafkaException as refused:
    assert refused.args[0].name() == "INVALID_CONFIG", refused

# A node's settings: what may change does, for the node and for all of them.
node = str(next(iter(admin.list_topics(timeout=30).brokers)))
alter(ResourceType.BROKER, node, [("log.retention.ms", "7200000", SET)])
assert describe(ResourceType.TOPIC, "tuned")["retention.ms"].value == "7200000"
assert describe(ResourceType.BROKER, node)["log.retention.ms"].source == ConfigSource.DYNAMIC_BROKER_CONFIG.value
alter(ResourceType.BROKER, node, [("log.retention.ms", None, DELETE)])
try:
    alter(ResourceType.BROKER, node, [("num.partitions", "3", SET)])
    raise AssertionError("a read-only setting was changed")
except KafkaException as refused:
    assert refused.args[0].name() == "INVALID_REQUEST", refused

# Deleted records are gone at once.
for number in range(10):
    producer.produce("tuned", b"%d" % number, b"k%d" % number)
assert producer.flush(30) == 0
for future in admin.delete_records([TopicPartition("tuned", 0, 7)]).values():
    assert future.result(30).low_watermark == 7
consumer = Consumer({"bootstrap.servers": address, "group.id": "reads-tuned", "enable.auto.commit": False})
assert consumer.get_watermark_offsets(TopicPartition("tuned", 0), timeout=30) == (7, 10)
consumer.close()
print("ok")
