//! gzip: one or more members (RFC 1952).

use std::io::{self, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::Compression;
use crate::DecompressError;

pub(super) fn compress(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = GzEncoder::new(out, flate2::Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()?;
    Ok(())
}

pub(super) fn decompress(bytes: &[u8], max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut out = Vec::new();
    // `read_to_end` grows the vector as bytes really arrive, at most to twice what there is.
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let read = decoder.by_ref().take(limit).read_to_end(&mut out);
    read.map_err(|error| DecompressError::corrupt(Compression::Gzip, error))?;
    if out.len() > max {
        return Err(DecompressError::TooLarge {
            codec: Compression::Gzip,
            limit: max,
        });
    }
    Ok(out)
}
