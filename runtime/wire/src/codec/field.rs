//! One field of a struct: in which versions it exists and in which form.

use bytes::{Bytes, BytesMut};

use super::read::{read_unsigned_varint, take};
use super::{At, DecodeError, EncodeError, Encoder, TagWriter, Value};

/// What the brackets of a declaration say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    name: &'static str,
    since: i16,
    until: i16,
    nullable_since: i16,
    tag: Option<u32>,
    ignorable: bool,
}

impl Field {
    pub const fn new(name: &'static str) -> Field {
        Field {
            name,
            since: 0,
            until: i16::MAX,
            nullable_since: 0,
            tag: None,
            ignorable: false,
        }
    }

    /// The first version that has the field.
    pub const fn since(self, version: i16) -> Field {
        Field {
            since: version,
            ..self
        }
    }

    /// The last version that has the field.
    pub const fn until(self, version: i16) -> Field {
        Field {
            until: version,
            ..self
        }
    }

    /// The first version in which it may be null.
    pub const fn nullable(self, version: i16) -> Field {
        Field {
            nullable_since: version,
            ..self
        }
    }

    /// A tagged field. Tags rise in the order of the declaration.
    pub const fn tag(self, tag: u32) -> Field {
        Field {
            tag: Some(tag),
            ..self
        }
    }

    /// A version that lacks the field drops its value.
    pub const fn ignorable(self) -> Field {
        Field {
            ignorable: true,
            ..self
        }
    }

    #[inline]
    fn exists_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }

    #[inline]
    fn at(&self, at: At) -> At {
        At {
            nullable: at.version >= self.nullable_since,
            field: self.name,
            ..at
        }
    }

    /// Writes an ordinary field; checks that a missing one need not be written.
    #[inline]
    pub fn write<T: Value + PartialEq>(
        &self,
        value: &T,
        default: impl FnOnce() -> T,
        out: &mut Encoder,
        at: At,
    ) -> Result<(), EncodeError> {
        if self.exists_in(at.version) {
            return match self.tag {
                Some(_) => Ok(()),
                None => value.write(out, self.at(at)),
            };
        }
        if self.ignorable || *value == default() {
            return Ok(());
        }
        Err(EncodeError::NotInVersion {
            field: self.name,
            version: at.version,
        })
    }

    /// Writes a tagged field unless it has its default value.
    #[inline]
    pub fn write_tag<T: Value + PartialEq>(
        &self,
        value: &T,
        default: impl FnOnce() -> T,
        tags: &mut TagWriter,
        at: At,
    ) -> Result<(), EncodeError> {
        let Some(tag) = self.tag else { return Ok(()) };
        if !self.exists_in(at.version) || *value == default() {
            return Ok(());
        }
        let mut body = Encoder::flat(BytesMut::new());
        value.write(&mut body, self.at(at))?;
        tags.add(tag, &body.into_flat());
        Ok(())
    }

    /// Reads an ordinary field; a missing or tagged one gets its default.
    #[inline]
    pub fn read<T: Value>(
        &self,
        input: &mut Bytes,
        default: impl FnOnce() -> T,
        at: At,
    ) -> Result<T, DecodeError> {
        match self.exists_in(at.version) && self.tag.is_none() {
            true => T::read(input, self.at(at)),
            false => Ok(default()),
        }
    }

    /// Takes the next tagged field off the input: its tag and its bytes.
    pub fn read_tag(input: &mut Bytes, at: At) -> Result<(u32, Bytes), DecodeError> {
        let tag = read_unsigned_varint(input, at.field)?;
        let size = read_unsigned_varint(input, at.field)?;
        Ok((tag, take(input, size as usize, at.field)?))
    }

    /// Is this the field of a tag?
    #[inline]
    pub fn is_tagged_as(&self, tag: u32, version: i16) -> bool {
        self.tag == Some(tag) && self.exists_in(version)
    }

    /// Reads a tagged field from its own bytes.
    pub fn read_tagged<T: Value>(&self, body: &mut Bytes, at: At) -> Result<T, DecodeError> {
        let value = T::read(body, self.at(at))?;
        match body.len() {
            0 => Ok(value),
            extra => Err(DecodeError::TagTooLong {
                field: self.name,
                extra,
            }),
        }
    }

    /// A random value where the field exists, its default elsewhere.
    #[cfg(test)]
    pub fn random<T: Value>(
        &self,
        random: &mut super::random::Random,
        default: impl FnOnce() -> T,
        at: At,
    ) -> T {
        match self.exists_in(at.version) {
            true => T::random(random, self.at(at)),
            false => default(),
        }
    }
}
