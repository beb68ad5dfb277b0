//! The records of a batch, decoded one by one as they are asked for.

use std::borrow::Cow;

use crate::varint::{self, VarintError};
use crate::walk::Walk;
use crate::{BatchError, BatchHeader, RecordFault, TimestampType};

/// The least bytes of a record: length, attributes, two deltas, two lengths and a header count of one byte each.
pub(crate) const RECORD_LEN_MIN: usize = 7;

/// A batch's records as bytes, decompressed where needed. Nothing is decoded before `iter`.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    body: Cow<'a, [u8]>,
    base: Base,
    last_offset_delta: i32,
    count: i32,
}

/// What a batch's header says that its records count from.
#[derive(Debug, Clone, Copy)]
struct Base {
    offset: i64,
    timestamp: i64,
    /// The timestamp of all records, when the log gave it.
    append_time: Option<i64>,
}

impl<'a> Records<'a> {
    pub(crate) fn new(header: &BatchHeader, body: Cow<'a, [u8]>) -> Self {
        let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
        Self {
            body,
            base: Base {
                offset: header.base_offset,
                timestamp: header.base_timestamp,
                append_time: append_time.then_some(header.max_timestamp),
            },
            last_offset_delta: header.last_offset_delta,
            count: header.record_count,
        }
    }

    /// How many records the header counts. `iter` gives exactly as many, or an error.
    pub fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// The records' bytes, decompressed.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// Decodes records in order. Ends after the first error; bytes behind the last record are an error too.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter {
            walk: Walk::new(&self.body, self.count, self.last_offset_delta),
            base: self.base,
        }
    }
}

impl<'r> IntoIterator for &'r Records<'_> {
    type Item = Result<Record<'r>, BatchError>;
    type IntoIter = RecordIter<'r>;

    fn into_iter(self) -> RecordIter<'r> {
        self.iter()
    }
}

/// One record, borrowed from its batch. Its layout (`varint` = zigzag, 7 bits a byte):
///
/// ```text
/// varint length of what follows | i8 attributes (unused) | varlong timestamp delta | varint offset delta
/// varint key length, -1 = null | key | varint value length, -1 = null | value
/// varint header count | per header: varint name length | name | varint value length, -1 = null | value
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: i64,
    /// Milliseconds since 1970, or -1 for none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// A record's headers; they were checked when the record was decoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// (name, value) in order; names may repeat.
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter {
            fields: Fields::new(self.bytes),
            remaining: self.count,
        }
    }
}

impl PartialEq for Headers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for Headers<'_> {}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// See [`Headers::iter`].
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    fields: Fields<'a>,
    remaining: usize,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        self.fields.header().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for HeaderIter<'_> {}

/// See [`Records::iter`].
#[derive(Debug, Clone)]
pub struct RecordIter<'r> {
    walk: Walk<'r>,
    base: Base,
}

impl RecordIter<'_> {
    /// Where the next record begins in `Records::bytes`.
    pub fn position(&self) -> usize {
        self.walk.position()
    }

    /// The next record's number in the batch, from 0.
    pub fn index(&self) -> i32 {
        self.walk.index()
    }
}

impl<'r> Iterator for RecordIter<'r> {
    type Item = Result<Record<'r>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.walk.next(|walk| self.base.decode(walk))
    }
}

impl Base {
    #[inline]
    fn decode<'r>(&self, walk: &mut Walk<'r>) -> Result<Record<'r>, RecordFault> {
        let met = walk.meet()?;
        let mut fields = Fields::new(met.fields);
        fields.take(1)?;
        let timestamp_delta = fields.i64()?;
        let offset_delta = fields.i32()?;
        let key = fields.nullable()?;
        let value = fields.nullable()?;
        let headers = fields.headers()?;
        fields.check_end()?;
        walk.pass(&met, offset_delta)?;
        let created = self.timestamp.wrapping_add(timestamp_delta);
        Ok(Record {
            offset: self.offset + i64::from(offset_delta),
            timestamp: self.append_time.unwrap_or(created),
            key,
            value,
            headers,
        })
    }
}

/// A reading position in a record.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Fields<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Bytes that are not read yet.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Everything must have been read.
    #[inline]
    fn check_end(&self) -> Result<(), RecordFault> {
        if self.position != self.bytes.len() {
            return Err(RecordFault::Length {
                declared: i32::try_from(self.bytes.len()).unwrap_or(i32::MAX),
                used: self.position,
            });
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn i32(&mut self) -> Result<i32, RecordFault> {
        let (value, len) = varint::read_i32(&self.bytes[self.position..])?;
        self.position += len;
        Ok(value)
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, RecordFault> {
        let (value, len) = varint::read_i64(&self.bytes[self.position..])?;
        self.position += len;
        Ok(value)
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordFault> {
        let taken = self.bytes[self.position..]
            .get(..len)
            .ok_or(RecordFault::Truncated)?;
        self.position += len;
        Ok(taken)
    }

    /// A length and as many bytes; -1 is null.
    #[inline]
    pub(crate) fn nullable(&mut self) -> Result<Option<&'a [u8]>, RecordFault> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(len) => self.take(len).map(Some),
                Err(_) => Err(RecordFault::NegativeLength(length)),
            },
        }
    }

    fn header(&mut self) -> Result<(&'a [u8], Option<&'a [u8]>), RecordFault> {
        let name = self.nullable()?.ok_or(RecordFault::NegativeLength(-1))?;
        Ok((name, self.nullable()?))
    }

    #[inline]
    fn headers(&mut self) -> Result<Headers<'a>, RecordFault> {
        let declared = self.i32()?;
        let fitting = self.left() / 2;
        let count = usize::try_from(declared)
            .ok()
            .filter(|count| *count <= fitting)
            .ok_or(RecordFault::HeaderCount(declared))?;
        let start = self.position;
        for _ in 0..count {
            self.header()?;
        }
        Ok(Headers {
            count,
            bytes: &self.bytes[start..self.position],
        })
    }
}

impl From<VarintError> for RecordFault {
    fn from(error: VarintError) -> Self {
        match error {
            VarintError::Truncated => Self::Truncated,
            VarintError::Overflow => Self::Varint,
        }
    }
}
