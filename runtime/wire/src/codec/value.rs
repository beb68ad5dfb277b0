//! The protocol's types. A Rust type says which one it is: `String` a string, `Option<String>` a
//! nullable one, `Bytes` a byte field or a record set, `Vec` an array, `Uuid` 16 bytes.

use bytes::{Buf, BufMut, Bytes};
use uuid::Uuid;

use super::encoder::put_unsigned_varint;
use super::read::{need, read_i16, read_i32, read_unsigned_varint, take};
use super::{At, DecodeError, EncodeError, Encoder};

/// The most elements that room is made for before they are seen.
const CAPACITY_START_MAX: usize = 1024;

/// Something with a form on the wire.
pub(crate) trait Value: Sized {
    fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError>;

    fn read(input: &mut Bytes, at: At) -> Result<Self, DecodeError>;

    /// Any value that has a form at this place.
    #[cfg(test)]
    fn random(random: &mut super::random::Random, at: At) -> Self;
}

macro_rules! number {
    ($type:ty, $size:literal, $put:ident, $get:ident) => {
        impl Value for $type {
            #[inline]
            fn write(&self, out: &mut Encoder, _at: At) -> Result<(), EncodeError> {
                out.buf().$put(*self);
                Ok(())
            }

            #[inline]
            fn read(input: &mut Bytes, at: At) -> Result<Self, DecodeError> {
                need(input, $size, at.field)?;
                Ok(input.$get())
            }

            #[cfg(test)]
            fn random(random: &mut super::random::Random, _at: At) -> Self {
                random.number() as $type
            }
        }
    };
}

number!(i8, 1, put_i8, get_i8);
number!(i16, 2, put_i16, get_i16);
number!(i32, 4, put_i32, get_i32);
number!(i64, 8, put_i64, get_i64);

impl Value for bool {
    fn write(&self, out: &mut Encoder, _at: At) -> Result<(), EncodeError> {
        out.buf().put_u8(u8::from(*self));
        Ok(())
    }

    /// Any byte but zero is true, as in Kafka.
    fn read(input: &mut Bytes, at: At) -> Result<Self, DecodeError> {
        need(input, 1, at.field)?;
        Ok(input.get_u8() != 0)
    }

    #[cfg(test)]
    fn random(random: &mut super::random::Random, _at: At) -> Self {
        random.number() & 1 == 1
    }
}

impl Value for Uuid {
    fn write(&self, out: &mut Encoder, _at: At) -> Result<(), EncodeError> {
        out.buf().put_slice(self.as_bytes());
        Ok(())
    }

    fn read(input: &mut Bytes, at: At) -> Result<Self, DecodeError> {
        need(input, 16, at.field)?;
        Ok(Uuid::from_u128(input.get_u128()))
    }

    #[cfg(test)]
    fn random(random: &mut super::random::Random, _at: At) -> Self {
        Uuid::from_u64_pair(random.number() as u64, random.number() as u64)
    }
}

impl Value for Option<String> {
    fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        match self {
            None => write_null(out, at, Width::Short),
            Some(text) => {
                write_length(text.len(), out, at, Width::Short)?;
                out.buf().put_slice(text.as_bytes());
                Ok(())
            }
        }
    }

    fn read(input: &mut Bytes, at: At) -> Result<Self, DecodeError> {
        let Some(length) = read_length(input, at, Width::Short)? else {
            return Ok(None);
        };
        need(input, length, at.field)?;
        match std::str::from_utf8(&input[..length]) {
            Ok(text) => {
                let text = text.to_owned();
                input.advance(length);
                Ok(Some(text))
            }
            Err(error) => Err(DecodeError::InvalidUtf8 {
                field: at.field,
                valid_up_to: error.valid_up_to(),
            }),
        }
    }

    #[cfg(test)]
    fn random(random: &mut super::random::Random, at: At) -> Self {
        random.option(at, |random| random.text())
    }
}

impl Value for Option<Bytes> {
    fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        match self {
            None => write_null(out, at, Width::Long),
            Some(bytes) => {
                write_length(bytes.len(), out, at, Width::Long)?;
                out.put_bytes(bytes);
                Ok(())
            }
        }
    }

    fn read(input: &mut Bytes, at: At) -> Result<Self, DecodeError> {
        match read_length(input, at, Width::Long)? {
            None => Ok(None),
            Some(length) => take(input, length, at.field).map(Some),
        }
    }

    #[cfg(test)]
    fn random(random: &mut super::random::Random, at: At) -> Self {
        random.option(at, |random| random.bytes())
    }
}

impl<T: Value> Value for Option<Vec<T>> {
    fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        match self {
            None => write_null(out, at, Width::Long),
            Some(elements) => write_elements(elements, out, at),
        }
    }

    fn read(input: &mut Bytes, at: At) -> Result<Self, DecodeError> {
        let Some(count) = read_length(input, at, Width::Long)? else {
            return Ok(None);
        };
        // Every element takes a byte at least, so a larger count is a lie.
        if count > input.len() {
            return Err(DecodeError::CountTooLarge {
                field: at.field,
                count: count as u64,
                remaining: input.len(),
            });
        }
        let mut elements = Vec::with_capacity(count.min(CAPACITY_START_MAX));
        for _ in 0..count {
            elements.push(T::read(input, not_null(at))?);
        }
        Ok(Some(elements))
    }

    #[cfg(test)]
    fn random(random: &mut super::random::Random, at: At) -> Self {
        random.option(at, |random| {
            let count = random.count();
            (0..count)
                .map(|_| T::random(random, not_null(at)))
                .collect()
        })
    }
}

/// A type that is never null has the form of its nullable one.
macro_rules! never_null {
    ([$($generic:ident)?] $type:ty, $write:expr) => {
        impl$(<$generic: Value>)? Value for $type {
            fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
                #[allow(clippy::redundant_closure_call)]
                ($write)(self, out, at)
            }

            fn read(input: &mut Bytes, at: At) -> Result<Self, DecodeError> {
                let value = <Option<$type>>::read(input, not_null(at))?;
                Ok(value.expect("null was refused by the length"))
            }

            #[cfg(test)]
            fn random(random: &mut super::random::Random, at: At) -> Self {
                let value = <Option<$type>>::random(random, not_null(at));
                value.expect("null is not allowed here")
            }
        }
    };
}

never_null!([] String, |text: &String, out: &mut Encoder, at| {
    write_length(text.len(), out, at, Width::Short)?;
    out.buf().put_slice(text.as_bytes());
    Ok(())
});
never_null!([] Bytes, |bytes: &Bytes, out: &mut Encoder, at| {
    write_length(bytes.len(), out, at, Width::Long)?;
    out.put_bytes(bytes);
    Ok(())
});
never_null!([T] Vec<T>, |elements: &Vec<T>, out, at| write_elements(
    elements, out, at
));

fn not_null(at: At) -> At {
    At {
        nullable: false,
        ..at
    }
}

/// The length field of versions that are not flexible: 16 bits for strings, 32 for all else.
#[derive(Clone, Copy)]
enum Width {
    Short,
    Long,
}

impl Width {
    fn limit(self, at: At) -> usize {
        match self {
            Width::Short => i16::MAX as usize,
            // A compact length is the length plus one; Kafka reads it as a signed number.
            Width::Long if at.flexible => i32::MAX as usize - 1,
            Width::Long => i32::MAX as usize,
        }
    }
}

fn write_elements<T: Value>(elements: &[T], out: &mut Encoder, at: At) -> Result<(), EncodeError> {
    write_length(elements.len(), out, at, Width::Long)?;
    for element in elements {
        element.write(out, not_null(at))?;
    }
    Ok(())
}

fn write_length(length: usize, out: &mut Encoder, at: At, width: Width) -> Result<(), EncodeError> {
    let limit = width.limit(at);
    if length > limit {
        return Err(EncodeError::TooLong {
            field: at.field,
            length,
            limit,
        });
    }
    match (at.flexible, width) {
        (true, _) => put_unsigned_varint(out.buf(), length as u32 + 1),
        (false, Width::Short) => out.buf().put_i16(length as i16),
        (false, Width::Long) => out.buf().put_i32(length as i32),
    }
    Ok(())
}

fn write_null(out: &mut Encoder, at: At, width: Width) -> Result<(), EncodeError> {
    if !at.nullable {
        return Err(EncodeError::NullNotAllowed {
            field: at.field,
            version: at.version,
        });
    }
    match (at.flexible, width) {
        (true, _) => put_unsigned_varint(out.buf(), 0),
        (false, Width::Short) => out.buf().put_i16(-1),
        (false, Width::Long) => out.buf().put_i32(-1),
    }
    Ok(())
}

/// Reads a length or a count; `None` is null, which has been allowed. A compact string is no longer than an ordinary one,
/// as in Kafka: so whatever came as a string can be sent and stored as one.
fn read_length(input: &mut Bytes, at: At, width: Width) -> Result<Option<usize>, DecodeError> {
    let field = at.field;
    let length = match (at.flexible, width) {
        (true, _) => i64::from(read_unsigned_varint(input, field)?) - 1,
        (false, Width::Short) => i64::from(read_i16(input, field)?),
        (false, Width::Long) => i64::from(read_i32(input, field)?),
    };
    match length {
        -1 if at.nullable => Ok(None),
        -1 => Err(DecodeError::NullNotAllowed {
            field,
            version: at.version,
        }),
        length => match usize::try_from(length) {
            Ok(length) if length <= width.limit(at) => Ok(Some(length)),
            _ => Err(DecodeError::InvalidLength { field, length }),
        },
    }
}
