//! Records seen from outside: where each one lies and what its key is. For who keeps or drops records as they are and
//! has no use for values and headers.

use crate::record::Fields;
use crate::walk::Walk;
use crate::{BatchError, BatchHeader, RecordFault, varint};

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

impl<'a> RawRecord<'a> {
    #[inline]
    fn decode(walk: &mut Walk<'a>) -> Result<Self, RecordFault> {
        let met = walk.meet()?;
        let (bytes, fields_at) = met.bytes();
        let mut fields = Fields::new(met.fields);
        let attributes = fields.take(1)?[0];
        let timestamp_delta = fields.i64()?;
        let after_timestamp = fields_at + fields.position();
        let offset_delta = fields.i32()?;
        let key = fields.nullable()?;
        let value_len = fields.i32()?;
        if value_len < -1 || usize::try_from(value_len).is_ok_and(|len| len > fields.left()) {
            return Err(RecordFault::Truncated);
        }
        walk.pass(&met, offset_delta)?;
        Ok(Self {
            bytes,
            offset_delta,
            timestamp_delta,
            key,
            has_value: value_len >= 0,
            after_timestamp,
            attributes,
        })
    }

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
pub struct RawRecords<'a>(Walk<'a>);

impl<'a> RawRecords<'a> {
    /// `body` is what [`crate::Records::bytes`] gives for a batch of `header`.
    pub fn new(header: &BatchHeader, body: &'a [u8]) -> Self {
        Self(Walk::new(
            body,
            header.record_count,
            header.last_offset_delta,
        ))
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(RawRecord::decode)
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
