"""One-record transactions, back to back. Arguments: BOOTSTRAP (or "mock") COUNT. Prints figures as JSON."""

import json
import sys
import time

from confluent_kafka import Producer

address, count = sys.argv[1], int(sys.argv[2])
config = {"transactional.id": "bench", "linger.ms": 0}
if address == "mock":
    config["test.mock.num.brokers"] = 1
    config["bootstrap.servers"] = "none"
else:
    config["bootstrap.servers"] = address

producer = Producer(config)
producer.init_transactions(30)
failed = []


def delivered(error, _message):
    if error is not None:
        failed.append(str(error))


def transaction():
    producer.begin_transaction()
    producer.produce("transactions", b"x" * 100, partition=0, on_delivery=delivered)
    producer.commit_transaction(30)


for _ in range(50):
    transaction()
times = []
begun = time.perf_counter()
for _ in range(count):
    before = time.perf_counter()
    transaction()
    times.append(time.perf_counter() - before)
seconds = time.perf_counter() - begun
if failed:
    sys.exit(f"{len(failed)} records were not delivered, the first: {failed[0]}")
times.sort()
print(json.dumps({
    "commits": count + 50,
    "commits_per_second": count / seconds,
    "p50_ms": times[count // 2] * 1e3,
    "p99_ms": times[count * 99 // 100] * 1e3,
}))
