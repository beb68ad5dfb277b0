"""Two producers with one transactional id: the older is fenced. Argument: BOOTSTRAP."""

import sys

from confluent_kafka import KafkaException, Producer

address = sys.argv[1]


def producer():
    made = Producer({"bootstrap.servers": address, "transactional.id": "only-one", "linger.ms": 0})
    made.init_transactions(30)
    return made


older = producer()
older.begin_transaction()
older.produce("fenced", b"never seen")
older.flush(30)
newer = producer()
newer.begin_transaction()
newer.produce("fenced", b"seen")
newer.commit_transaction(30)
try:
    older.commit_transaction(30)
except KafkaException as error:
    assert error.args[0].fatal(), error
    print("ok")
else:
    sys.exit("the older producer committed")
