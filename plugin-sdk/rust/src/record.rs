//! A record as a plugin sees it: borrowed from the call's frame, nothing copied.

use millstream_frames::{Event, Headers, Run, seed};
use serde_core::Deserialize;

use crate::{Open, Reject};

/// One input record.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub(crate) event: Event<'a>,
    pub(crate) run: &'a Run,
    pub(crate) open: &'a Open,
    pub(crate) seed_base: u64,
}

impl<'a> Record<'a> {
    /// The key; `None` is null.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.event.key
    }

    /// The value; `None` is null, a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.event.value
    }

    /// The value as text. Refuses the record when it is null or not UTF-8.
    pub fn text(&self) -> Result<&'a str, Reject> {
        let value = self
            .value()
            .ok_or_else(|| Reject::new("the record has no value"))?;
        std::str::from_utf8(value)
            .map_err(|error| Reject::new(format!("the value is not UTF-8: {error}")))
    }

    /// The key as text. Refuses the record when it is null or not UTF-8.
    pub fn key_text(&self) -> Result<&'a str, Reject> {
        let key = self
            .key()
            .ok_or_else(|| Reject::new("the record has no key"))?;
        std::str::from_utf8(key)
            .map_err(|error| Reject::new(format!("the key is not UTF-8: {error}")))
    }

    /// The value read as JSON. Refuses the record when it is null or not such a document.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, Reject> {
        let value = self
            .value()
            .ok_or_else(|| Reject::new("the record has no value"))?;
        serde_json::from_slice(value)
            .map_err(|error| Reject::new(format!("the value is not the JSON expected: {error}")))
    }

    /// The record's headers, in order.
    pub fn headers(&self) -> RecordHeaders<'a> {
        RecordHeaders {
            headers: self.event.headers,
        }
    }

    /// The value of the last header of that name, as Kafka's `lastHeader`; null counts as empty.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let of_name = |(found, value): (&[u8], Option<&'a [u8]>)| {
            (found == name.as_bytes()).then(|| value.unwrap_or(&[]))
        };
        self.headers().iter().filter_map(of_name).last()
    }

    /// The record's clock, in milliseconds since 1970. A plugin has no other: a replay must see the same.
    pub fn timestamp(&self) -> i64 {
        self.event.timestamp
    }

    /// Offset in its partition.
    pub fn offset(&self) -> u64 {
        self.event.offset
    }

    /// Partition that it came from.
    pub fn partition(&self) -> i32 {
        self.run.partition
    }

    /// Name of the input that it came from.
    pub fn input(&self) -> &'a str {
        self.open.input(self.run.input).map_or("", |(name, _)| name)
    }

    /// Topic that it came from.
    pub fn topic(&self) -> &'a str {
        self.open
            .input(self.run.input)
            .map_or("", |(_, topic)| topic)
    }

    /// A number that depends on pipeline, stage, topic, partition and offset alone: the seed of all randomness.
    pub fn seed(&self) -> u64 {
        seed::event_seed(self.seed_base, self.run.seed, self.event.offset)
    }
}

/// Headers of a record.
#[derive(Clone, Copy)]
pub struct RecordHeaders<'a> {
    pub(crate) headers: Headers<'a>,
}

impl<'a> RecordHeaders<'a> {
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        self.headers.iter().map(|header| {
            // The host wrote the frame. Should it be wrong, the trap is the host's to explain.
            let header = header.expect("the events frame is sound");
            (header.name, header.value)
        })
    }
}
