//! One block: its frame, and the changes in it.

use thiserror::Error;

use super::fields::{Reader, Unreadable, put_varint};
use crate::overlay::Change;
use crate::table::Entry;

/// Bytes before a block's body.
pub const HEADER_LEN: usize = 13;
/// A block is ended when its body has so many bytes. One change may make it longer.
pub const BODY_BYTES: usize = 64 << 10;

/// The kind of a block with changes.
const CHANGES: u8 = 1;
/// The kind of the last block.
const FOOTER: u8 = 2;

/// The change of a key.
const PUT: u8 = 1;
const PUT_WITH_EXPIRY: u8 = 2;
const REMOVE: u8 = 3;

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BlockError {
    #[error("the file ends in it")]
    Short,
    #[error("its checksum does not fit")]
    Checksum,
    #[error("it is block {found}, where block {expected} should be")]
    Number { expected: u32, found: u32 },
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("it has a change of store {store}, where there are {stores}")]
    Store { store: usize, stores: usize },
    #[error("the footer counts {expected} changes, the blocks have {found}")]
    Changes { expected: u64, found: u64 },
    #[error("it stands behind the footer")]
    BehindFooter,
}

/// A block whose checksum was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block<'b> {
    Changes(&'b [u8]),
    Footer(&'b [u8]),
}

impl<'b> Block<'b> {
    /// Bytes of the body that follows a header.
    pub fn body_len(header: &[u8; HEADER_LEN]) -> usize {
        let length = header[..4].try_into().expect("four bytes");
        u32::from_le_bytes(length) as usize
    }

    /// The block that `bytes`, header and body, hold as the file's block of this number.
    pub fn read(bytes: &'b [u8], expected: u32) -> Result<Self, BlockError> {
        let (header, body) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(BlockError::Short)?;
        let body = body
            .get(..Self::body_len(header))
            .ok_or(BlockError::Short)?;
        let mut fields = Reader(&header[4..]);
        let checksum = u32::from_le_bytes(fields.array()?);
        if checksum != checksum_of(&header[8..], body) {
            return Err(BlockError::Checksum);
        }
        let found = u32::from_le_bytes(fields.array()?);
        if found != expected {
            return Err(BlockError::Number { expected, found });
        }
        match fields.byte()? {
            CHANGES => Ok(Self::Changes(body)),
            FOOTER => Ok(Self::Footer(body)),
            _ => Err(Unreadable.into()),
        }
    }
}

/// The next change of a body, with the number of its store; `None` at its end.
pub fn next_change<'b>(body: &mut Reader<'b>) -> Result<Option<(usize, Change<'b>)>, Unreadable> {
    match body.is_empty() {
        true => Ok(None),
        false => read_change(body).map(Some),
    }
}

fn checksum_of(number_and_kind: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(number_and_kind), body)
}

/// The blocks of a file, one after the other.
#[derive(Debug, Default)]
pub struct BlockWriter {
    /// Ended blocks that nobody has taken yet, then the open one's header and body.
    bytes: Vec<u8>,
    /// Where the open one begins.
    open: usize,
    number: u32,
}

impl BlockWriter {
    pub fn push(&mut self, store: usize, change: &Change<'_>) {
        if self.bytes.len() == self.open {
            self.bytes.extend([0; HEADER_LEN]);
        }
        write_change(&mut self.bytes, store, change);
        if self.bytes.len() - self.open >= HEADER_LEN + BODY_BYTES {
            self.end(CHANGES);
        }
    }

    /// Ends the file.
    pub fn push_footer(&mut self, body: &[u8]) {
        if self.bytes.len() > self.open {
            self.end(CHANGES);
        }
        self.bytes.extend([0; HEADER_LEN]);
        self.bytes.extend(body);
        self.end(FOOTER);
    }

    /// The blocks that were ended since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.open);
        self.open = 0;
        std::mem::replace(&mut self.bytes, rest)
    }

    fn end(&mut self, kind: u8) {
        let (header, body) = self.bytes[self.open..].split_at_mut(HEADER_LEN);
        let length = u32::try_from(body.len()).expect("a block is shorter than 4 GiB");
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[8..12].copy_from_slice(&self.number.to_le_bytes());
        header[12] = kind;
        let checksum = checksum_of(&header[8..], body);
        header[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.number += 1;
        self.open = self.bytes.len();
    }
}

fn write_change(out: &mut Vec<u8>, store: usize, change: &Change<'_>) {
    put_varint(out, store as u64);
    match change {
        Change::Remove(key) => {
            out.push(REMOVE);
            put_varint(out, key.len() as u64);
            out.extend(*key);
        }
        Change::Put(entry) => {
            out.push(match entry.expires {
                None => PUT,
                Some(_) => PUT_WITH_EXPIRY,
            });
            put_varint(out, u64::from(entry.schema));
            put_varint(out, entry.key.len() as u64);
            put_varint(out, entry.value.len() as u64);
            out.extend(entry.expires.iter().flat_map(|at| at.to_le_bytes()));
            out.extend(entry.key);
            out.extend(entry.value);
        }
    }
}

fn read_change<'b>(fields: &mut Reader<'b>) -> Result<(usize, Change<'b>), Unreadable> {
    let store = usize::try_from(fields.varint()?).map_err(|_| Unreadable)?;
    let kind = fields.byte()?;
    let change = match kind {
        REMOVE => {
            let len = fields.len()?;
            Change::Remove(fields.bytes(len)?)
        }
        PUT | PUT_WITH_EXPIRY => {
            let schema = u32::try_from(fields.varint()?).map_err(|_| Unreadable)?;
            // Schemas begin at 1.
            if schema == 0 {
                return Err(Unreadable);
            }
            let (key_len, value_len) = (fields.len()?, fields.len()?);
            let expires = match kind {
                PUT => None,
                _ => Some(fields.i64()?),
            };
            Change::Put(Entry {
                key: fields.bytes(key_len)?,
                value: fields.bytes(value_len)?,
                schema,
                expires,
            })
        }
        _ => return Err(Unreadable),
    };
    Ok((store, change))
}
