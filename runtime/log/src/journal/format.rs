//! The bytes of a journal. All numbers are little-endian; all checksums CRC-32C.
//!
//! A file `<sequence, 20 digits>.journal` is one sector of header, then groups, then zeros or what
//! the file's use before left there, under another generation:
//!
//! ```text
//! file header            group (begins at a sector)        entry
//!  0  magic "MSJOURN1"    0  magic "MSJG"                   0  length of what follows, u32
//!  8  crc of 12..60       4  crc of 8..48 + body            4  kind u8
//! 12  version u32 = 2     8  crc of the group before, u32   5  topic id, 16 bytes
//! 16  sequence u64       12  body length u32               21  partition i32
//! 24  generation u64     16  number of entries u32         25  incarnation u64
//! 32  first LSN u64      20  zero u32                      33  offset i64 (see EntryKind)
//! 40  crc of the group   24  generation u64                41  bytes, up to the length
//!     before, u32        32  first LSN u64
//! 44  LSN it follows     40  LSN flushed when written u64
//! 52  bytes of the file  48  body: entries; zeros up to the next sector
//! ```
//!
//! The chain goes: last group of the file before → file header → first group → … . A group begins
//! at a sector of its own, so that writing it never touches a sector that holds flushed bytes.

use uuid::Uuid;

use super::Lsn;
use crate::fs::SECTOR;

pub const FILE_HEADER_LEN: usize = SECTOR;
pub const GROUP_HEADER_LEN: usize = 48;
pub const ENTRY_HEADER_LEN: usize = 41;
/// Bytes of an entry's payload at most.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 30;

const FILE_MAGIC: &[u8; 8] = b"MSJOURN1";
const GROUP_MAGIC: &[u8; 4] = b"MSJG";
const VERSION: u32 = 2;
const FILE_CRC_END: usize = 60;

/// What an entry says about its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind<'a> {
    /// Record batches were appended; a redo first truncates the log to `base_offset`.
    Append { base_offset: i64, bytes: &'a [u8] },
    /// The log was cut: `to` is its new end.
    Truncate { to: i64 },
    /// The log was emptied and begins anew at `to`.
    Reset { to: i64 },
    /// Records below `to` are gone.
    LogStart { to: i64 },
    /// The log came to be; `topic` is its topic's name.
    Create { topic: &'a str },
    /// The log was deleted.
    Delete,
}

/// One change of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    pub topic_id: Uuid,
    pub partition: i32,
    /// Which life of the log: a log that is deleted and made again under the same topic id has
    /// another one, and entries of other lives are skipped.
    pub incarnation: u64,
    pub kind: EntryKind<'a>,
}

impl<'a> EntryRef<'a> {
    /// Bytes of the encoded entry.
    pub fn encoded_len(&self) -> usize {
        ENTRY_HEADER_LEN + self.payload().len()
    }

    fn payload(&self) -> &'a [u8] {
        match self.kind {
            EntryKind::Append { bytes, .. } => bytes,
            EntryKind::Create { topic } => topic.as_bytes(),
            _ => &[],
        }
    }

    /// Gives the encoded entry to `put`, in two pieces. The payload must be at most `PAYLOAD_BYTES_MAX`.
    pub fn encode(&self, mut put: impl FnMut(&[u8])) {
        let payload = self.payload();
        assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        let (kind, offset) = match self.kind {
            EntryKind::Append { base_offset, .. } => (1, base_offset),
            EntryKind::Truncate { to } => (2, to),
            EntryKind::Reset { to } => (3, to),
            EntryKind::LogStart { to } => (4, to),
            EntryKind::Create { .. } => (5, 0),
            EntryKind::Delete => (6, 0),
        };
        let mut header = [0; ENTRY_HEADER_LEN];
        let length = (ENTRY_HEADER_LEN - 4 + payload.len()) as u32;
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4] = kind;
        header[5..21].copy_from_slice(self.topic_id.as_bytes());
        header[21..25].copy_from_slice(&self.partition.to_le_bytes());
        header[25..33].copy_from_slice(&self.incarnation.to_le_bytes());
        header[33..41].copy_from_slice(&i64::to_le_bytes(offset));
        put(&header);
        put(payload);
    }

    /// The entry at the start of `bytes`, and how long it is.
    pub fn decode(bytes: &'a [u8]) -> Result<(EntryRef<'a>, usize), String> {
        let short = || format!("an entry is cut off after {} bytes", bytes.len());
        let length = u32_at(bytes, 0).ok_or_else(short)? as usize;
        let end = length.checked_add(4).filter(|end| *end >= ENTRY_HEADER_LEN);
        let end =
            end.ok_or_else(|| format!("an entry of {length} bytes is shorter than its header"))?;
        let entry = bytes.get(..end).ok_or_else(short)?;
        let offset = u64_at(entry, 33).ok_or_else(short)? as i64;
        let payload = &entry[ENTRY_HEADER_LEN..];
        let kind = match entry[4] {
            1 => EntryKind::Append {
                base_offset: offset,
                bytes: payload,
            },
            2 => EntryKind::Truncate { to: offset },
            3 => EntryKind::Reset { to: offset },
            4 => EntryKind::LogStart { to: offset },
            5 => EntryKind::Create {
                topic: std::str::from_utf8(payload)
                    .map_err(|_| "a topic's name is not UTF-8".to_owned())?,
            },
            6 => EntryKind::Delete,
            other => return Err(format!("entry kind {other} is unknown")),
        };
        let mut topic_id = [0; 16];
        topic_id.copy_from_slice(&entry[5..21]);
        let entry = EntryRef {
            topic_id: Uuid::from_bytes(topic_id),
            partition: u32_at(entry, 21).ok_or_else(short)? as i32,
            incarnation: u64_at(entry, 25).ok_or_else(short)?,
            kind,
        };
        Ok((entry, end))
    }
}

/// The first sector of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    pub sequence: u64,
    /// Another one at each use of a file; its groups repeat it.
    pub generation: u64,
    /// `Lsn::ZERO` in a reservation.
    pub first_lsn: Lsn,
    /// Checksum of the last group of the file before; 0 for the first of all.
    pub previous_crc: u32,
    /// The number after the last entry of the file before: `first_lsn`, or less when numbers were
    /// left out because a checkpoint had covered entries that the journal lost.
    pub follows: Lsn,
    /// Bytes of the file, which are there before it is used: a shorter one has lost some. 0 in a reservation.
    pub file_bytes: u64,
}

impl FileHeader {
    /// The header of a file that is ready and holds no entry yet. The true header replaces it together
    /// with the first group, in one sector, so a file in use has one or the other.
    pub fn reservation(sequence: u64, generation: u64) -> FileHeader {
        FileHeader {
            sequence,
            generation,
            first_lsn: Lsn::ZERO,
            previous_crc: 0,
            follows: Lsn::ZERO,
            file_bytes: 0,
        }
    }

    pub fn is_reservation(&self) -> bool {
        self.first_lsn == Lsn::ZERO
    }

    pub fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let mut bytes = [0; FILE_HEADER_LEN];
        bytes[..8].copy_from_slice(FILE_MAGIC);
        bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.generation.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first_lsn.0.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.previous_crc.to_le_bytes());
        bytes[44..52].copy_from_slice(&self.follows.0.to_le_bytes());
        bytes[52..60].copy_from_slice(&self.file_bytes.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[12..FILE_CRC_END]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when the header is not sound.
    pub fn decode(bytes: &[u8]) -> Option<FileHeader> {
        let covered = bytes.get(12..FILE_CRC_END)?;
        let sound = bytes.starts_with(FILE_MAGIC)
            && u32_at(bytes, 8)? == crc32c::crc32c(covered)
            && u32_at(bytes, 12)? == VERSION;
        if !sound {
            return None;
        }
        Some(FileHeader {
            sequence: u64_at(bytes, 16)?,
            generation: u64_at(bytes, 24)?,
            first_lsn: Lsn(u64_at(bytes, 32)?),
            previous_crc: u32_at(bytes, 40)?,
            follows: Lsn(u64_at(bytes, 44)?),
            file_bytes: u64_at(bytes, 52)?,
        })
    }

    /// What the first group of the file chains to.
    pub fn crc(&self) -> u32 {
        let bytes = self.encode();
        u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]])
    }
}

/// The head of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeader {
    /// Checksum of the group before (of the file's header for the first one).
    pub previous_crc: u32,
    pub body_len: u32,
    pub entries: u32,
    pub generation: u64,
    pub first_lsn: Lsn,
    /// All entries up to this one were durable before this group was written.
    pub flushed_lsn: Lsn,
}

impl GroupHeader {
    /// Where the group ends without its padding.
    pub fn len_unpadded(&self) -> u64 {
        GROUP_HEADER_LEN as u64 + u64::from(self.body_len)
    }

    /// Bytes from this group to where the next one begins.
    pub fn len_padded(&self) -> u64 {
        self.len_unpadded().next_multiple_of(SECTOR as u64)
    }

    pub fn last_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.0.saturating_add(u64::from(self.entries)) - 1)
    }

    /// Fills in the head of `group` (which is the head's room and the body) and returns its checksum.
    pub fn seal(&self, group: &mut [u8]) -> u32 {
        assert_eq!(group.len() as u64, self.len_unpadded());
        group[..4].copy_from_slice(GROUP_MAGIC);
        group[8..12].copy_from_slice(&self.previous_crc.to_le_bytes());
        group[12..16].copy_from_slice(&self.body_len.to_le_bytes());
        group[16..20].copy_from_slice(&self.entries.to_le_bytes());
        group[20..24].fill(0);
        group[24..32].copy_from_slice(&self.generation.to_le_bytes());
        group[32..40].copy_from_slice(&self.first_lsn.0.to_le_bytes());
        group[40..48].copy_from_slice(&self.flushed_lsn.0.to_le_bytes());
        let crc = crc32c::crc32c(&group[8..]);
        group[4..8].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// The head alone, unchecked but for its magic; [`GroupHeader::check`] tells whether it is sound.
    pub fn decode(bytes: &[u8]) -> Option<GroupHeader> {
        if !bytes.starts_with(GROUP_MAGIC) {
            return None;
        }
        let header = GroupHeader {
            previous_crc: u32_at(bytes, 8)?,
            body_len: u32_at(bytes, 12)?,
            entries: u32_at(bytes, 16)?,
            generation: u64_at(bytes, 24)?,
            first_lsn: Lsn(u64_at(bytes, 32)?),
            flushed_lsn: Lsn(u64_at(bytes, 40)?),
        };
        (header.entries > 0).then_some(header)
    }

    /// The checksum, if it is right. `group` is the head and the whole body.
    pub fn check(group: &[u8]) -> Option<u32> {
        let crc = u32_at(group, 4)?;
        (crc == crc32c::crc32c(group.get(8..)?)).then_some(crc)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = (u8, i64, Vec<u8>, String)> {
        (
            0..6_u8,
            any::<i64>(),
            prop::collection::vec(any::<u8>(), 0..200),
            ".{0,40}",
        )
    }

    proptest! {
        #[test]
        fn an_entry_survives_encoding(
            (kind, offset, bytes, topic) in kinds(),
            id in any::<u128>(),
            partition in any::<i32>(),
            incarnation in any::<u64>(),
        ) {
            let kind = match kind {
                0 => EntryKind::Append { base_offset: offset, bytes: &bytes },
                1 => EntryKind::Truncate { to: offset },
                2 => EntryKind::Reset { to: offset },
                3 => EntryKind::LogStart { to: offset },
                4 => EntryKind::Create { topic: &topic },
                _ => EntryKind::Delete,
            };
            let entry = EntryRef { topic_id: Uuid::from_u128(id), partition, incarnation, kind };
            let mut encoded = Vec::new();
            entry.encode(|piece| encoded.extend_from_slice(piece));
            prop_assert_eq!(encoded.len(), entry.encoded_len());
            encoded.extend_from_slice(b"next");
            prop_assert_eq!(EntryRef::decode(&encoded), Ok((entry, encoded.len() - 4)));
        }

        #[test]
        fn foreign_bytes_decode_to_an_error_or_an_entry(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = EntryRef::decode(&bytes);
            let _ = FileHeader::decode(&bytes);
            let _ = GroupHeader::decode(&bytes);
            let _ = GroupHeader::check(&bytes);
        }

        #[test]
        fn headers_survive_encoding(a in any::<u64>(), b in any::<u64>(), c in any::<u64>(), crc in any::<u32>(), entries in 1..u32::MAX) {
            let file = FileHeader { sequence: a, generation: b, first_lsn: Lsn(c), previous_crc: crc, follows: Lsn(a), file_bytes: b };
            prop_assert_eq!(FileHeader::decode(&file.encode()), Some(file));
            let group = GroupHeader {
                previous_crc: crc, body_len: 7, entries, generation: a, first_lsn: Lsn(b), flushed_lsn: Lsn(c),
            };
            let mut bytes = vec![9; GROUP_HEADER_LEN + 7];
            let sealed = group.seal(&mut bytes);
            prop_assert_eq!(GroupHeader::decode(&bytes), Some(group));
            prop_assert_eq!(GroupHeader::check(&bytes), Some(sealed));
            for i in 4..bytes.len() {
                bytes[i] ^= 0x10;
                prop_assert_eq!(GroupHeader::check(&bytes), None);
                bytes[i] ^= 0x10;
            }
        }
    }
}
