//! A file as a stream of decompressed bytes, whose digest is known at the end of every row.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 128 * 1024;

/// Opens a file, decompressing it when it is zstd. `read` counts the bytes of the file itself.
pub fn open(path: &Path, read: Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
    let file = Counted {
        file: File::open(path)?,
        read,
    };
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    if file.fill_buf()?.starts_with(&ZSTD_MAGIC) {
        return Ok(Box::new(zstd::stream::read::Decoder::with_buffer(file)?));
    }
    Ok(Box::new(file))
}

/// Counts what is read of a file, for those who watch.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// Passes bytes on and remembers those that no row has claimed yet. A reader above it buffers
/// ahead; the digest stops at the row's end all the same.
pub struct Tape {
    source: Box<dyn Read + Send>,
    /// Bytes that were handed up, from `position` on.
    ahead: Vec<u8>,
    /// How many of them are claimed already and will be dropped.
    claimed: usize,
    position: u64,
    hash: Sha256,
}

impl Tape {
    pub fn new(source: Box<dyn Read + Send>) -> Self {
        Tape {
            source,
            ahead: Vec::new(),
            claimed: 0,
            position: 0,
            hash: Sha256::new(),
        }
    }

    /// The bytes between the last claim and `position`.
    pub fn peek(&self, position: u64) -> &[u8] {
        &self.ahead[self.unclaimed(position)]
    }

    /// The bytes between the last claim and `position` belong to a row now.
    pub fn claim(&mut self, position: u64) {
        let row = self.unclaimed(position);
        self.hash.update(&self.ahead[row.clone()]);
        self.position += row.len() as u64;
        self.claimed = row.end;
    }

    fn unclaimed(&self, position: u64) -> Range<usize> {
        let length = usize::try_from(position.saturating_sub(self.position)).unwrap_or(usize::MAX);
        self.claimed..self.claimed.saturating_add(length).min(self.ahead.len())
    }

    /// Bytes claimed so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Digest of the bytes claimed so far.
    pub fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }
}

impl Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        // What is claimed goes when it is at least half, so that a byte moves but once.
        if self.claimed > self.ahead.len() / 2 {
            self.ahead.drain(..self.claimed);
            self.claimed = 0;
        }
        self.ahead.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}
