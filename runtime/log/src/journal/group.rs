//! Entries that become durable together, as they are collected.

use std::sync::Arc;

use super::format::GROUP_HEADER_LEN;
use super::{EntryRef, FlushListener, Lsn};
use crate::fs::SectorBuffer;

/// A group's buffer keeps its memory, so that a journal under load asks for none. After so many groups
/// in a row that needed less than a quarter, it gives back all but this, or twice what the last one needed.
const BUFFER_BYTES_KEPT: usize = 1 << 20;
const SMALL_GROUPS: u32 = 64;
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
    pub bytes: SectorBuffer,
    pub entries: u32,
    pub first_lsn: Lsn,
    pub told: Vec<Told>,
    /// How many groups in a row needed little of the buffer's memory.
    small: u32,
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
            self.bytes.extend_from_slice(&[0; GROUP_HEADER_LEN]);
        }
        entry.encode(|piece| self.bytes.extend_from_slice(piece));
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
        let needed = self.bytes.len();
        self.bytes.clear();
        self.small = match needed < self.bytes.capacity() / 4 {
            true => self.small + 1,
            false => 0,
        };
        if self.small == SMALL_GROUPS {
            self.small = 0;
            self.bytes
                .shrink_to(BUFFER_BYTES_KEPT.max(needed.saturating_mul(2)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(group: &mut Group, bytes: usize) {
        group.bytes.extend_from_slice(&vec![1; bytes]);
        group.clear();
    }

    #[test]
    fn memory_is_kept_under_load_and_goes_with_it() {
        let mut group = Group::default();
        for _ in 0..SMALL_GROUPS {
            pass(&mut group, 8 << 20);
            pass(&mut group, 100);
            assert!(group.bytes.capacity() >= 8 << 20);
        }
        for _ in 0..SMALL_GROUPS {
            pass(&mut group, 100);
        }
        assert!(group.bytes.capacity() < 2 * BUFFER_BYTES_KEPT);
    }
}
