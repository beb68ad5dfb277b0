//! Values that no client sends, chosen at random from what is at the edge of something.

use bytes::Bytes;
use millstream_log::testing::Random;
use millstream_records::{BatchBuilder, BatchOptions, Compression, ProducerStamp};

use crate::support::{now_ms, reseal};

pub const TRANSACTIONAL_IDS: [&str; 2] = ["writer", "other"];

const TOPICS: [&str; 9] = [
    "t",
    "t",
    "compacted",
    "missing",
    "__consumer_offsets",
    "__transaction_state",
    "__millstream_sources",
    "__cluster_metadata",
    "a/b",
];
const GROUPS: [&str; 5] = ["", "g", "h", "millstream.p.stage", "......"];
const MEMBERS: [&str; 3] = ["", "m", "test-member"];
const SETTINGS: [&str; 15] = [
    "",
    "no.such.setting",
    "cleanup.policy",
    "compression.type",
    "retention.ms",
    "retention.bytes",
    "segment.bytes",
    "segment.ms",
    "segment.jitter.ms",
    "max.message.bytes",
    "message.timestamp.type",
    "message.timestamp.before.max.ms",
    "log.cleaner.backoff.ms",
    "log.cleaner.threads",
    "advertised.listeners",
];
const SETTING_VALUES: [&str; 16] = [
    "",
    " ",
    ",",
    "0",
    "-1",
    "1",
    "+7",
    "9223372036854775807",
    "-9223372036854775808",
    "1e400",
    "NaN",
    "compact",
    "delete,compact",
    "LogAppendTime",
    "TRUE",
    "PLAINTEXT://x:y",
];

/// The source of nasty values.
pub struct Nasty {
    random: Random,
    producers: Vec<(i64, i16)>,
}

impl Nasty {
    pub fn new(seed: u64) -> Nasty {
        Nasty {
            random: Random::new(seed),
            producers: Vec::new(),
        }
    }

    /// From now on this producer is one of those that requests name.
    pub fn know_producer(&mut self, id: i64, epoch: i16) {
        self.producers.push((id, epoch));
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from(self.random.below(bound)).unwrap()
    }

    pub fn one_of<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())].clone()
    }

    pub fn coin(&mut self) -> bool {
        self.random.chance(50)
    }

    pub fn i8(&mut self) -> i8 {
        self.one_of(&[i8::MIN, -1, 0, 1, 2, 3, 4, i8::MAX])
    }

    pub fn i16(&mut self) -> i16 {
        self.one_of(&[i16::MIN, -2, -1, 0, 1, 2, i16::MAX])
    }

    pub fn i32(&mut self) -> i32 {
        self.one_of(&[i32::MIN, -2, -1, -1, 0, 0, 1, 2, 50, i32::MAX])
    }

    pub fn i64(&mut self) -> i64 {
        let now = now_ms();
        self.one_of(&[i64::MIN, -3, -2, -1, 0, 1, 2, 1 << 40, now, i64::MAX])
    }

    /// In versions that have the field, any of its values; its default elsewhere.
    pub fn since<T>(&mut self, exists: bool, value: fn(&mut Nasty) -> T, default: T) -> T {
        if exists { value(self) } else { default }
    }

    pub fn option<T>(&mut self, value: fn(&mut Nasty) -> T) -> Option<T> {
        self.coin().then(|| value(self))
    }

    /// None to three of them; sometimes one thrice.
    pub fn some<T: Clone>(&mut self, mut value: impl FnMut(&mut Nasty) -> T) -> Vec<T> {
        match self.below(6) {
            0 => Vec::new(),
            1 => vec![value(self); 3],
            count => (2..=count.min(4)).map(|_| value(self)).collect(),
        }
    }

    fn text(&mut self, usual: &[&str]) -> String {
        match self.below(12) {
            0 => "x".repeat(249),
            1 => "é".repeat(125),
            2 => "y".repeat(32_767),
            _ => self.one_of(usual).to_owned(),
        }
    }

    pub fn topic(&mut self) -> String {
        self.text(&TOPICS)
    }

    pub fn group(&mut self) -> String {
        self.text(&GROUPS)
    }

    pub fn member(&mut self) -> String {
        self.text(&MEMBERS)
    }

    pub fn transactional_id(&mut self) -> String {
        match self.below(6) {
            0 => self.text(&["", "nobody"]),
            _ => self.one_of(&TRANSACTIONAL_IDS).to_owned(),
        }
    }

    pub fn setting(&mut self) -> String {
        self.text(&SETTINGS)
    }

    pub fn setting_value(&mut self) -> String {
        self.text(&SETTING_VALUES)
    }

    /// A partition that exists, mostly.
    pub fn partition(&mut self) -> i32 {
        match self.coin() {
            true => self.one_of(&[0, 1]),
            false => self.i32(),
        }
    }

    /// A producer that exists, mostly; its epoch may be any.
    pub fn producer(&mut self) -> (i64, i16) {
        let known = self.producers.clone();
        match self.below(4) {
            0 => (self.i64(), self.i16()),
            1 => (self.one_of(&known).0, self.i16()),
            _ => self.one_of(&known),
        }
    }

    pub fn bytes(&mut self) -> Bytes {
        self.one_of(&[
            Bytes::new(),
            Bytes::from_static(&[0]),
            Bytes::from_static(&[0xff; 9]),
            Bytes::from_static(b"some bytes"),
        ])
    }

    /// A record set: a batch with a few header fields at the edge, and mostly a right checksum.
    pub fn records(&mut self) -> Bytes {
        let (id, epoch) = self.producer();
        let transactional = self.coin();
        let has_producer = transactional || self.coin();
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: self.one_of(&Compression::ALL),
            producer: has_producer.then_some(ProducerStamp {
                id,
                epoch,
                base_sequence: self.one_of(&[0, 1, i32::MAX]),
            }),
            transactional,
            ..BatchOptions::default()
        });
        for _ in 0..self.one_of(&[1, 2, 300]) {
            let timestamp = self.i64();
            let key = self.option(Nasty::bytes);
            let value = self.option(Nasty::bytes);
            builder
                .append(timestamp, key.as_deref(), value.as_deref(), [])
                .unwrap();
        }
        let mut batch = builder.build().unwrap();
        for _ in 0..self.one_of(&[0, 1, 1, 3]) {
            self.spoil(&mut batch);
        }
        if !self.random.chance(10) {
            reseal(&mut batch);
        }
        match self.below(12) {
            0 => batch.truncate(self.below(batch.len())),
            1 => batch.extend_from_within(..),
            _ => {}
        }
        Bytes::from(batch)
    }

    /// Puts another number into one field of the header.
    fn spoil(&mut self, batch: &mut [u8]) {
        // Base offset, times, producer id; length, leader epoch, offset delta, sequence, count; attributes, epoch.
        let field = self.one_of(&[0, 27, 35, 43, 8, 12, 23, 53, 57, 21, 21, 51, 16]);
        let number = match field {
            0 | 27 | 35 | 43 => self.i64().to_be_bytes().to_vec(),
            21 => (1_i16 << self.below(15)).to_be_bytes().to_vec(),
            51 => self.i16().to_be_bytes().to_vec(),
            16 => vec![self.one_of(&[0, 1, 3, 0xff])],
            _ => self.i32().to_be_bytes().to_vec(),
        };
        batch[field..field + number.len()].copy_from_slice(&number);
    }
}
