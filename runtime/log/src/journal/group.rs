//! Entries that become durable together, as they are collected.

use std::sync::Arc;

use super::format::GROUP_HEADER_LEN;
use super::{EntryRef, FlushListener, Lsn};

/// A group's buffer keeps this much room, or twice what it held last: a journal under load asks for no
/// memory, and gives it back when the load is gone.
const BUFFER_BYTES_KEPT: usize = 1 << 20;
/// How many of the last listeners of a group are looked through for one that is there already.
const LISTENERS_COMPARED: usize = 8;

/// Who is to be told of a group.
pub(super) struct Told {
    pub listener: Arc<dyn FlushListener>,
    pub end_offset: i64,
    pub lsn: Lsn,
}

/// Entries that become durable together.
#[derive(Default)]
pub(super) struct Group {
    /// Room for the head, then the encoded entries.
    pub bytes: Vec<u8>,
    pub entries: u32,
    pub first_lsn: Lsn,
    pub told: Vec<Told>,
}

impl Group {
    pub fn push(
        &mut self,
        entry: &EntryRef<'_>,
        lsn: Lsn,
        listener: &Arc<dyn FlushListener>,
        end_offset: i64,
    ) {
        if self.entries == 0 {
            self.first_lsn = lsn;
            self.bytes.resize(GROUP_HEADER_LEN, 0);
        }
        entry.encode(&mut self.bytes);
        self.entries += 1;
        let recent = self.told.iter_mut().rev().take(LISTENERS_COMPARED);
        for told in recent {
            if Arc::ptr_eq(&told.listener, listener) {
                (told.end_offset, told.lsn) = (end_offset, lsn);
                return;
            }
        }
        self.told.push(Told {
            listener: listener.clone(),
            end_offset,
            lsn,
        });
    }

    /// Of a group that has entries.
    pub fn last_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.0 + u64::from(self.entries) - 1)
    }

    pub fn clear(&mut self) {
        self.entries = 0;
        self.told.clear();
        let kept = BUFFER_BYTES_KEPT.max(self.bytes.len().saturating_mul(2));
        self.bytes.clear();
        self.bytes.shrink_to(kept);
    }
}
