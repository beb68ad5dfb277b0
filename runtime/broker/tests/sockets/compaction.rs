//! Compaction in the background, as a client sees it, with the node's own settings.

use std::time::{Duration, Instant};

use millstream_records::{BatchBuilder, BatchOptions, Compression};

use crate::support::{Client, Node, assert_code, now_ms};
use millstream_wire::ErrorCode;

/// Records of which no batch comes near to the segments' 10,000 bytes.
struct Batcher {
    topic: &'static str,
    compression: Compression,
    builder: BatchBuilder,
}

impl Batcher {
    fn new(topic: &'static str, compression: Compression) -> Batcher {
        Batcher {
            topic,
            compression,
            builder: BatchBuilder::new(BatchOptions {
                compression,
                ..BatchOptions::default()
            }),
        }
    }

    async fn append(&mut self, client: &mut Client, key: &str, value: Option<&str>) {
        self.builder
            .append(now_ms(), Some(key.as_bytes()), value.map(str::as_bytes), [])
            .unwrap();
        if self.builder.estimated_size() >= 4000 {
            self.flush(client).await;
        }
    }

    async fn flush(&mut self, client: &mut Client) {
        if self.builder.is_empty() {
            return;
        }
        let next = Batcher::new(self.topic, self.compression);
        let full = std::mem::replace(self, next).builder;
        let answer = client
            .produce(self.topic, 0, -1, full.build().unwrap())
            .await;
        assert_code(answer.error_code, ErrorCode::None);
    }
}

/// Twenty batches of a record of one key, the last one a tombstone: they fill segments, and soon they are gone.
async fn fill(client: &mut Client, topic: &'static str, key: &str) {
    let value = "x".repeat(1000);
    for number in 0..20 {
        let mut batch = Batcher::new(topic, Compression::None);
        let value = (number < 19).then_some(value.as_str());
        batch.append(client, key, value).await;
        batch.flush(client).await;
    }
}

/// Offset and key of all records.
async fn all_records(client: &mut Client, topic: &str) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut next = 0;
    loop {
        let data = client.fetch(topic, 0, next).await;
        assert_code(data.error_code, ErrorCode::None);
        let bytes = data.records.unwrap_or_default();
        if bytes.is_empty() {
            return found;
        }
        for batch in millstream_records::batches(&bytes) {
            let batch = batch.unwrap();
            for record in batch.records(1 << 20).unwrap().iter() {
                let record = record.unwrap();
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                if record.offset >= next {
                    found.push((record.offset, key));
                }
            }
            next = batch.header().next_offset();
        }
    }
}

/// The scene of librdkafka's test 0077: three keys that are written again and again, records with keys of their own
/// between them, and before and behind them what makes segments end. It allows 20 seconds.
#[tokio::test]
async fn compaction_is_seen_within_twenty_seconds() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "10000"),
        ("segment.bytes", "10000"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "86400"),
        ("file.delete.delay.ms", "10000"),
    ];
    let cases = [
        ("few", 10, Compression::None),
        ("many", 1000, Compression::None),
        ("few-snappy", 10, Compression::Snappy),
        ("many-gzip", 3000, Compression::Gzip),
    ];
    let mut wanted = Vec::new();
    for (topic, rounds, compression) in cases {
        client.create(topic, 1, &settings).await;
        fill(&mut client, topic, "before").await;
        let mut batcher = Batcher::new(topic, compression);
        let mut kept = Vec::new();
        let mut offset = 20;
        for round in 0..rounds {
            let is_last = round + 1 == rounds;
            for key in ["k1", "k2", "k3", "own"] {
                let own = format!("own-{offset}");
                let key = if key == "own" { own.as_str() } else { key };
                let is_tombstone = key == "k1" && (is_last || round % 7 == 0);
                let value = format!("{topic}: record {offset}");
                let value = (!is_tombstone).then_some(value.as_str());
                batcher.append(&mut client, key, value).await;
                if is_last || key.starts_with("own") {
                    kept.push((offset, key.to_owned()));
                }
                offset += 1;
            }
        }
        batcher.flush(&mut client).await;
        fill(&mut client, topic, "behind").await;
        wanted.push((topic, offset, kept));
    }
    let began = Instant::now();
    for (topic, end, kept) in wanted {
        loop {
            let mut found = all_records(&mut client, topic).await;
            found.retain(|(offset, _)| (20..end).contains(offset));
            if found == kept {
                break;
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{topic} has {} records instead of {}",
                found.len(),
                kept.len()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
