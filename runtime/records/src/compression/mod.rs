//! The five codecs of Kafka's batches, each in its own file.
//!
//! Decompressing never believes a declared size: memory grows with what the compressed bytes can really yield and ends
//! at the caller's limit. Beside the output, a codec holds a working state of at most a few hundred KiB.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::header::compression_bits;
use crate::{BatchError, BuildError, DecompressError};

/// How a batch's records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec that a batch's attributes name.
    pub fn from_attributes(attributes: i16) -> Result<Self, BatchError> {
        let id = compression_bits(attributes);
        Self::ALL
            .get(usize::from(id))
            .copied()
            .ok_or(BatchError::UnknownCompression { id })
    }

    /// Kafka's number, bits 0-2 of the attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// Kafka's name, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no codec's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression {0:?}; known are none, gzip, snappy, lz4 and zstd")]
pub struct UnknownCompressionName(pub String);

impl FromStr for Compression {
    type Err = UnknownCompressionName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| UnknownCompressionName(name.to_owned()))
    }
}

/// Compresses `bytes` as Kafka's clients expect it: gzip stream, xerial snappy, lz4 frame, zstd frame.
pub fn compress(codec: Compression, bytes: &[u8]) -> Result<Vec<u8>, BuildError> {
    let mut out = Vec::new();
    compress_into(codec, bytes, &mut out)?;
    Ok(out)
}

/// Like `compress`, appending to `out`.
pub fn compress_into(
    codec: Compression,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), BuildError> {
    let compressed = match codec {
        Compression::None => {
            out.extend_from_slice(bytes);
            Ok(())
        }
        Compression::Gzip => gzip::compress(bytes, out),
        Compression::Snappy => snappy::compress(bytes, out).map_err(io::Error::other),
        Compression::Lz4 => lz4::compress(bytes, out),
        Compression::Zstd => zstd::compress(bytes, out),
    };
    compressed.map_err(|error| BuildError::Compress {
        codec,
        reason: error.to_string(),
    })
}

/// Decompresses `bytes` to at most `max` bytes; more is an error, found before it is allocated.
pub fn decompress(
    codec: Compression,
    bytes: &[u8],
    max: usize,
) -> Result<Vec<u8>, DecompressError> {
    match codec {
        Compression::None if bytes.len() > max => {
            Err(DecompressError::TooLarge { codec, limit: max })
        }
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => gzip::decompress(bytes, max),
        Compression::Snappy => snappy::decompress(bytes, max),
        Compression::Lz4 => lz4::decompress(bytes, max),
        Compression::Zstd => zstd::decompress(bytes, max),
    }
}
