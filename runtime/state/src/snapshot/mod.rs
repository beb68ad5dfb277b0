//! The stores of a task at one commit, as a file.
//!
//! The file is a row of blocks; each can be checked alone.
//!
//! ```text
//! block    length   4 bytes   of the body
//!          CRC-32C  4 bytes   of number, kind and body
//!          number   4 bytes   0, 1, 2 …: a block that is missing or stands elsewhere is noticed
//!          kind     1 byte    CHANGES or FOOTER
//!          body
//!
//! CHANGES  [store  varint, kind of change 1 byte, then for a removal: key length varint, key;
//!           for a put: schema varint, key and value length varint, [expiry 8 bytes], key, value]…
//! FOOTER   version of the format, the tag, counts of changes: the last block of the file
//! ```
//!
//! Numbers are little-endian. Of two changes of a key the later one counts: a snapshot is taken in slices, and what is
//! committed between two slices is written between them. So the file is exact at the commit that ends it.

mod block;
mod fields;
mod footer;
mod restoring;
mod taking;

pub use block::{Block, BlockError, HEADER_LEN};
pub use footer::Footer;
pub use restoring::{Restored, Restoring};
pub use taking::Taking;

#[cfg(test)]
mod tests;
