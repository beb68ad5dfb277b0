//! Random batches for a compacted log.

use millstream_log::testing::Random;
use millstream_records::{BatchBuilder, BatchOptions, Compression, ProducerStamp};

use super::Stored;

/// Keys that are written again and again.
const KEYS: u64 = 14;
/// So many records of a hundred have a key that none had before: they are to stay, wherever they are.
const ONCE_IN_100: u64 = 15;

/// What a batch is to be.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    pub producer: Option<ProducerStamp>,
    /// The transaction's number, when it belongs to one.
    pub transaction: Option<usize>,
    /// How its keys begin.
    pub keys: &'a str,
    /// How its values begin.
    pub values: &'a str,
    pub has_tombstones: bool,
    pub now_ms: i64,
}

/// A batch of one to five records with any codec; with tombstones a third of them is that.
pub fn build(wish: &Wish<'_>, random: &mut Random) -> (Vec<u8>, Vec<Stored>) {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: wish.producer,
        transactional: wish.transaction.is_some(),
        compression: Compression::ALL[random.below(5) as usize],
        ..BatchOptions::default()
    });
    let mut records = Vec::new();
    for index in 0..1 + random.below(5) {
        let is_tombstone = wish.has_tombstones && !random.chance(67);
        let key = match random.chance(ONCE_IN_100) {
            true => format!("{}-once-{:016x}", wish.keys, random.next_u64()),
            false => format!("{}-{}", wish.keys, random.below(KEYS)),
        };
        let record = Stored {
            key,
            value: (!is_tombstone).then(|| format!("{} {index}", wish.values)),
            timestamp: wish.now_ms - random.below(1000) as i64,
            transaction: wish.transaction,
            first_pass_ms: None,
        };
        let header: (&[u8], Option<&[u8]>) = (b"header", Some(b"x"));
        let (key, value) = (record.key.as_bytes(), record.value.as_deref());
        let value = value.map(str::as_bytes);
        builder
            .append(record.timestamp, Some(key), value, [header])
            .unwrap();
        records.push(record);
    }
    (builder.build().unwrap(), records)
}
