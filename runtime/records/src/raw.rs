//! Records seen from outside: where each one lies and what its key is. For who keeps or drops records as they are and
//! has no use for values and headers.

use crate::record::{Fields, check_offset_delta};
use crate::{BatchError, RecordFault, varint};

/// One record, undecoded but for what stands in front of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// The whole record, its length included.
    pub bytes: &'a [u8],
    pub offset_delta: i32,
    pub timestamp_delta: i64,
    pub key: Option<&'a [u8]>,
    /// There is a value, be it empty; a record with a key and no value is a tombstone.
    pub has_value: bool,
    /// What follows the timestamp delta in `bytes`.
    after_timestamp: usize,
    attributes: u8,
}

impl RawRecord<'_> {
    /// Appends this record to `out` with another timestamp delta.
    pub fn write_with_timestamp_delta(&self, timestamp_delta: i64, out: &mut Vec<u8>) {
        let rest = &self.bytes[self.after_timestamp..];
        let len = 1 + varint::size_i64(timestamp_delta) + rest.len();
        varint::write_i32(out, i32::try_from(len).unwrap_or(i32::MAX));
        out.push(self.attributes);
        varint::write_i64(out, timestamp_delta);
        out.extend_from_slice(rest);
    }
}

/// Walks the records of a batch's decompressed body. Ends after the first error, after `count` records, and with an
/// error when bytes are left behind them.
#[derive(Debug, Clone)]
pub struct RawRecords<'a> {
    body: &'a [u8],
    position: usize,
    index: i32,
    count: i32,
    previous_delta: i32,
    last_offset_delta: i32,
    ended: bool,
}

impl<'a> RawRecords<'a> {
    /// `body` is what [`crate::Records::bytes`] gives for a batch of `header`.
    pub fn new(header: &crate::BatchHeader, body: &'a [u8]) -> Self {
        Self {
            body,
            position: 0,
            index: 0,
            count: header.record_count,
            previous_delta: -1,
            last_offset_delta: header.last_offset_delta,
            ended: false,
        }
    }

    #[inline]
    fn decode(&mut self) -> Result<RawRecord<'a>, RecordFault> {
        let rest = &self.body[self.position..];
        let (length, start) = varint::read_i32(rest)?;
        let Ok(len) = usize::try_from(length) else {
            return Err(RecordFault::NegativeLength(length));
        };
        let end = start.checked_add(len).ok_or(RecordFault::Truncated)?;
        let Some(bytes) = rest.get(..end) else {
            return Err(RecordFault::Truncated);
        };
        let mut fields = Fields::new(&bytes[start..]);
        let attributes = fields.take(1)?[0];
        let timestamp_delta = fields.i64()?;
        let after_timestamp = start + fields.position();
        let offset_delta = fields.i32()?;
        let key = fields.nullable()?;
        let value_len = fields.i32()?;
        let left = len - fields.position();
        if usize::try_from(value_len.max(0)).is_ok_and(|value| value > left) || value_len < -1 {
            return Err(RecordFault::Truncated);
        }
        check_offset_delta(offset_delta, self.previous_delta, self.last_offset_delta)?;
        self.previous_delta = offset_delta;
        self.position += end;
        self.index += 1;
        Ok(RawRecord {
            bytes,
            offset_delta,
            timestamp_delta,
            key,
            has_value: value_len >= 0,
            after_timestamp,
            attributes,
        })
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index == self.count {
            self.ended = true;
            let extra = self.body.len() - self.position;
            return (extra > 0).then_some(Err(BatchError::TrailingRecordBytes {
                record_count: self.count,
                extra,
            }));
        }
        let decoded = self.decode();
        Some(decoded.map_err(|fault| {
            self.ended = true;
            BatchError::Record {
                index: self.index,
                position: self.position,
                fault,
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, BatchOptions, BatchView};

    type Stored = (i64, Option<&'static [u8]>, Option<&'static [u8]>);

    const RECORDS: [Stored; 4] = [
        (1000, Some(b"a"), Some(b"1")),
        (1500, None, Some(b"")),
        (-7, Some(b"tomb"), None),
        (1 << 40, Some(b""), Some(b"4")),
    ];

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for (timestamp, key, value) in RECORDS {
            let header: (&[u8], Option<&[u8]>) = (b"name", None);
            builder.append(timestamp, key, value, [header]).unwrap();
        }
        builder.build().unwrap()
    }

    #[test]
    fn raw_records_say_what_decoded_ones_say() {
        let bytes = batch();
        let view = BatchView::parse(&bytes).unwrap();
        let raw: Vec<_> = RawRecords::new(view.header(), view.body())
            .map(Result::unwrap)
            .collect();
        let decoded = view.records(0).unwrap();
        let decoded: Vec<_> = decoded.iter().map(Result::unwrap).collect();
        assert_eq!(raw.len(), decoded.len());
        for (raw, decoded) in raw.iter().zip(&decoded) {
            assert_eq!(i64::from(raw.offset_delta), decoded.offset);
            assert_eq!(raw.key, decoded.key);
            assert_eq!(raw.has_value, decoded.value.is_some());
            let timestamp = view.header().base_timestamp + raw.timestamp_delta;
            assert_eq!(timestamp, decoded.timestamp);
        }
        let all: usize = raw.iter().map(|one| one.bytes.len()).sum();
        assert_eq!(all, view.body().len());
    }

    #[test]
    fn a_record_with_another_timestamp_delta_keeps_everything_else() {
        let bytes = batch();
        let view = BatchView::parse(&bytes).unwrap();
        let mut header = *view.header();
        let mut body = Vec::new();
        header.base_timestamp = 5000;
        for record in RawRecords::new(view.header(), view.body()) {
            let record = record.unwrap();
            let timestamp = view.header().base_timestamp + record.timestamp_delta;
            record.write_with_timestamp_delta(timestamp - 5000, &mut body);
        }
        let mut rebuilt = Vec::new();
        header.write_batch(&body, &mut rebuilt).unwrap();
        let rebuilt = BatchView::parse(&rebuilt).unwrap();
        rebuilt.validate(0).unwrap();
        for (record, (timestamp, key, value)) in rebuilt.records(0).unwrap().iter().zip(RECORDS) {
            let record = record.unwrap();
            assert_eq!((record.timestamp, record.key), (timestamp, key));
            assert_eq!((record.value, record.headers.count()), (value, 1));
        }
    }

    #[test]
    fn no_byte_of_a_body_makes_it_panic() {
        let bytes = batch();
        let view = BatchView::parse(&bytes).unwrap();
        for at in 0..view.body().len() {
            for bit in 0..8 {
                let mut body = view.body().to_vec();
                body[at] ^= 1 << bit;
                let _ = RawRecords::new(view.header(), &body).collect::<Vec<_>>();
                let _ = RawRecords::new(view.header(), &body[..at]).collect::<Vec<_>>();
            }
        }
        let cut = &view.body()[..view.body().len() - 1];
        assert!(RawRecords::new(view.header(), cut).any(|record| record.is_err()));
    }
}
