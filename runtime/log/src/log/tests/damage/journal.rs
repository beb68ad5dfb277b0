//! What damage to a journal must come to.

use std::ops::Range;
use std::path::Path;

use super::extension;
use super::golden::{Golden, Outcome};

const SECTOR: usize = 512;
const HEADER: Range<u64> = 0..60;
const GROUP_HEADER: usize = 48;

/// A journal's file of a node that was killed: the only one with entries, or the next, which has none.
pub(super) struct Journal {
    /// Where each group stands, without the zeros up to the next sector.
    groups: Vec<Range<u64>>,
}

impl Journal {
    /// `None` when it is a file of another kind.
    pub(super) fn of(golden: &Golden, path: &Path) -> Option<Self> {
        if extension(path) != "journal" {
            return None;
        }
        let bytes = golden.bytes(path);
        let mut groups = Vec::new();
        let mut at = SECTOR;
        while bytes.get(at..at + 4) == Some(b"MSJG") {
            let body: [u8; 4] = bytes[at + 12..at + 16].try_into().unwrap();
            let end = at + GROUP_HEADER + u32::from_le_bytes(body) as usize;
            groups.push(at as u64..end as u64);
            at = end.next_multiple_of(SECTOR);
        }
        assert!(groups.len() > 3 || groups.is_empty(), "{}", path.display());
        Some(Self { groups })
    }

    /// What must come of a flip at this byte; where several things may, whichever of them did.
    pub(super) fn after_flip(&self, at: u64, outcome: &Outcome) -> Outcome {
        let Some((last, earlier)) = self.groups.split_last() else {
            return match HEADER.contains(&at) {
                // Nothing was in it, so its header may say anything.
                true if *outcome == Outcome::Refused => Outcome::Refused,
                _ => Outcome::Whole,
            };
        };
        let is_proven = HEADER.contains(&at) || earlier.iter().any(|group| group.contains(&at));
        match outcome {
            _ if is_proven => Outcome::Refused,
            // As if the crash had cut its write short.
            Outcome::Lost(_) if last.contains(&at) => outcome.clone(),
            _ => Outcome::Whole,
        }
    }

    /// What must come of a file that has only so many bytes left, fewer than are used.
    pub(super) fn after_cut(&self, left: u64) -> Outcome {
        match self.groups.is_empty() && left >= SECTOR as u64 {
            true => Outcome::Whole,
            false => Outcome::Refused,
        }
    }
}
