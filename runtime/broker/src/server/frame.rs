//! Framing: a request is four bytes of length, big-endian, and as many bytes.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of the length in front of a frame.
const LENGTH_BYTES: usize = 4;
/// The least that is read at once.
const READ_BYTES_MIN: usize = 8 << 10;
/// After a frame larger than this the buffer is given back; below it a busy producer keeps its memory.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// A length that no request has.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a frame of {announced} bytes was announced, and a request has 8 to {max} bytes")]
pub struct FrameLengthError {
    pub announced: i32,
    pub max: usize,
}

/// What has been received of a connection.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: BytesMut,
    /// The last frame was larger than what is kept.
    outgrown: bool,
}

impl FrameBuffer {
    /// Takes the next whole frame, without its length. `None` when it has not arrived whole. A length that is not
    /// acceptable is an error as soon as it is seen.
    pub fn take(&mut self, max: usize) -> Result<Option<Bytes>, FrameLengthError> {
        let Some(length) = self.announced(max)? else {
            return Ok(None);
        };
        if self.bytes.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.bytes.advance(LENGTH_BYTES);
        self.outgrown = length > KEPT_BYTES_MAX;
        Ok(Some(self.bytes.split_to(length).freeze()))
    }

    /// The API key of the next frame, when that is whole.
    pub fn next_api_key(&self, max: usize) -> Option<i16> {
        let length = self.announced(max).ok().flatten()?;
        let key = self
            .bytes
            .get(LENGTH_BYTES..LENGTH_BYTES + 2)?
            .first_chunk::<2>()?;
        (self.bytes.len() >= LENGTH_BYTES + length).then_some(i16::from_be_bytes(*key))
    }

    /// Bytes of the frame that has begun to arrive: those that are here and those that are announced.
    pub fn partial(&self) -> Option<(usize, usize)> {
        if self.bytes.is_empty() {
            return None;
        }
        let announced = self.announced(usize::MAX).ok().flatten().unwrap_or(0);
        Some((self.bytes.len(), LENGTH_BYTES.saturating_add(announced)))
    }

    /// The buffer with room for the next read. The room grows with what has already arrived, at most to twice that,
    /// so that an announcement alone reserves nothing.
    pub fn room(&mut self) -> &mut BytesMut {
        let received = self.bytes.len();
        if received == 0 && self.outgrown {
            *self = FrameBuffer::default();
        }
        if self.bytes.capacity() - received < READ_BYTES_MIN / 2 {
            let missing = self
                .partial()
                .map_or(0, |(here, whole)| whole.saturating_sub(here));
            self.bytes
                .reserve(missing.min(received).max(READ_BYTES_MIN));
        }
        &mut self.bytes
    }

    fn announced(&self, max: usize) -> Result<Option<usize>, FrameLengthError> {
        let Some(length) = self.bytes.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let announced = i32::from_be_bytes(*length);
        // Key, version and correlation id are eight bytes, so nothing shorter is a request.
        match usize::try_from(announced) {
            Ok(length) if length >= 8 && length <= max => Ok(Some(length)),
            _ => Err(FrameLengthError { announced, max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn receive(buffer: &mut FrameBuffer, bytes: &[u8]) {
        buffer.room().extend_from_slice(bytes);
    }

    proptest! {
        #[test]
        fn frames_come_out_whole_however_they_are_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 8..300), 1..6),
            cut in 1_usize..50,
        ) {
            let mut stream = Vec::new();
            for frame in &frames {
                stream.extend_from_slice(&i32::try_from(frame.len()).unwrap().to_be_bytes());
                stream.extend_from_slice(frame);
            }
            let mut buffer = FrameBuffer::default();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                receive(&mut buffer, piece);
                while let Some(frame) = buffer.take(1_000).unwrap() {
                    found.push(frame.to_vec());
                }
            }
            prop_assert_eq!(found, frames);
            prop_assert_eq!(buffer.partial(), None);
        }
    }

    #[test]
    fn lengths_outside_the_limits_are_refused_at_once() {
        for (announced, fine) in [
            (i32::MIN, false),
            (-1, false),
            (0, false),
            (7, false),
            (8, true),
            (100, true),
            (101, false),
        ] {
            let mut buffer = FrameBuffer::default();
            receive(&mut buffer, &announced.to_be_bytes());
            assert_eq!(buffer.take(100).is_ok(), fine, "{announced}");
        }
    }

    #[test]
    fn an_announced_length_alone_reserves_nothing() {
        let mut buffer = FrameBuffer::default();
        receive(&mut buffer, &100_000_000_i32.to_be_bytes());
        assert_eq!(buffer.take(usize::MAX), Ok(None));
        assert!(buffer.room().capacity() < 100_000);
        receive(&mut buffer, &[0; 1_000]);
        assert_eq!(buffer.partial(), Some((1_004, 100_000_004)));
        assert!(buffer.room().capacity() < 100_000);
    }

    #[test]
    fn the_memory_of_a_very_large_frame_is_given_back() {
        for (length, kept) in [(1_000_000, true), (5_000_000, false)] {
            let mut buffer = FrameBuffer::default();
            receive(&mut buffer, &i32::try_from(length).unwrap().to_be_bytes());
            receive(&mut buffer, &vec![0; length]);
            assert_eq!(buffer.take(usize::MAX).unwrap().unwrap().len(), length);
            assert_eq!(buffer.room().capacity() >= length, kept, "{length}");
        }
    }
}
