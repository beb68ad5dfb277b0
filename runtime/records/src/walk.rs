//! The walk from one record of a batch to the next, whatever a reader wants to know of each.

use crate::{BatchError, RecordFault, varint};

/// Walks the records of a decompressed body. Ends after the first error, after `count` records, and with an error when
/// bytes are left behind them.
#[derive(Debug, Clone)]
pub(crate) struct Walk<'a> {
    body: &'a [u8],
    position: usize,
    index: i32,
    count: i32,
    previous_delta: i32,
    last_offset_delta: i32,
    ended: bool,
}

/// One record as the walk meets it.
pub(crate) struct Met<'a> {
    /// What follows the record's length, up to the record's end: nothing is read beyond it.
    pub(crate) fields: &'a [u8],
    /// The body from this record on.
    rest: &'a [u8],
    length_len: usize,
}

impl<'a> Met<'a> {
    /// The whole record, its length included, and where in it the fields begin.
    #[inline]
    pub(crate) fn bytes(&self) -> (&'a [u8], usize) {
        let end = self.length_len + self.fields.len();
        (&self.rest[..end], self.length_len)
    }
}

impl<'a> Walk<'a> {
    pub(crate) fn new(body: &'a [u8], count: i32, last_offset_delta: i32) -> Self {
        Self {
            body,
            position: 0,
            index: 0,
            count,
            previous_delta: -1,
            last_offset_delta,
            ended: false,
        }
    }

    /// Where the next record begins in the body.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The next record's number in the batch, from 0.
    pub(crate) fn index(&self) -> i32 {
        self.index
    }

    /// The next record, as `decode` makes it: it takes the bytes from [`Walk::meet`] and, when they are sound, leaves them
    /// with [`Walk::pass`].
    #[inline]
    pub(crate) fn next<R>(
        &mut self,
        decode: impl FnOnce(&mut Self) -> Result<R, RecordFault>,
    ) -> Option<Result<R, BatchError>> {
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
        let decoded = decode(self);
        Some(decoded.map_err(|fault| {
            self.ended = true;
            BatchError::Record {
                index: self.index,
                position: self.position,
                fault,
            }
        }))
    }

    /// The record that is next.
    #[inline]
    pub(crate) fn meet(&self) -> Result<Met<'a>, RecordFault> {
        let rest = &self.body[self.position..];
        let (length, length_len) = varint::read_i32(rest)?;
        let Ok(len) = usize::try_from(length) else {
            return Err(RecordFault::NegativeLength(length));
        };
        let Some(fields) = rest[length_len..].get(..len) else {
            return Err(RecordFault::Truncated);
        };
        Ok(Met {
            fields,
            rest,
            length_len,
        })
    }

    /// Leaves a record behind, which has this offset delta: offsets rise within a batch and stay within what its
    /// header says.
    #[inline]
    pub(crate) fn pass(&mut self, met: &Met<'a>, delta: i32) -> Result<(), RecordFault> {
        let (previous, last) = (self.previous_delta, self.last_offset_delta);
        if delta <= previous || delta > last {
            return Err(RecordFault::OffsetDelta {
                delta,
                previous,
                last,
            });
        }
        self.previous_delta = delta;
        self.position += met.length_len + met.fields.len();
        self.index += 1;
        Ok(())
    }
}
