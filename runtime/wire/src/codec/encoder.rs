//! Where encoded bytes go: one buffer, or a buffer with big byte fields spliced in uncopied.

use bytes::{BufMut, Bytes, BytesMut};

/// A growing message. In splicing mode a byte field of at least `splice_from` bytes is not copied:
/// its place in the buffer is remembered.
#[derive(Debug)]
pub(crate) struct Encoder {
    buf: BytesMut,
    splices: Vec<(usize, Bytes)>,
    splice_from: usize,
}

impl Encoder {
    /// Everything is copied to the end of `buf`.
    pub fn flat(buf: BytesMut) -> Encoder {
        Encoder {
            buf,
            splices: Vec::new(),
            splice_from: usize::MAX,
        }
    }

    /// Byte fields of at least `splice_from` bytes stay where they are.
    pub fn splicing(buf: BytesMut, splice_from: usize) -> Encoder {
        Encoder {
            splice_from,
            ..Encoder::flat(buf)
        }
    }

    /// The buffer, for numbers and short text.
    pub fn buf(&mut self) -> &mut BytesMut {
        &mut self.buf
    }

    /// Writes a byte field's content.
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        match bytes.len() >= self.splice_from {
            true => self.splices.push((self.buf.len(), bytes.clone())),
            false => self.buf.put_slice(bytes),
        }
    }

    /// Bytes written so far, spliced ones included.
    pub fn len(&self) -> usize {
        let spliced: usize = self.splices.iter().map(|(_, bytes)| bytes.len()).sum();
        self.buf.len() + spliced
    }

    /// The buffer of a flat encoder.
    pub fn into_flat(self) -> BytesMut {
        assert!(self.splices.is_empty(), "a flat encoder has no splices");
        self.buf
    }

    /// All pieces in order.
    pub fn into_chunks(self) -> Vec<Bytes> {
        let head = self.buf.freeze();
        let mut chunks = Vec::with_capacity(2 * self.splices.len() + 1);
        let mut from = 0;
        for (position, bytes) in self.splices {
            if position > from {
                chunks.push(head.slice(from..position));
            }
            chunks.push(bytes);
            from = position;
        }
        if from < head.len() {
            chunks.push(head.slice(from..));
        }
        chunks
    }
}

/// Writes an unsigned integer in 7-bit groups, lowest first.
pub(crate) fn put_unsigned_varint(buf: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        buf.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buf.put_u8(value as u8);
}

/// The tagged fields behind a struct: a count, then (tag, size, value) with rising tags.
#[derive(Debug, Default)]
pub(crate) struct TagWriter {
    count: u32,
    last: Option<u32>,
    buf: BytesMut,
}

impl TagWriter {
    /// Adds one field whose value is already encoded.
    pub fn add(&mut self, tag: u32, value: &[u8]) {
        assert!(self.last < Some(tag), "tags are declared in rising order");
        self.last = Some(tag);
        self.count += 1;
        put_unsigned_varint(&mut self.buf, tag);
        let size = u32::try_from(value.len()).expect("a tagged field is shorter than 4 GiB");
        put_unsigned_varint(&mut self.buf, size);
        self.buf.put_slice(value);
    }

    /// Writes the section.
    pub fn finish(&mut self, out: &mut Encoder) {
        put_unsigned_varint(out.buf(), self.count);
        out.buf().put_slice(&self.buf);
    }
}
