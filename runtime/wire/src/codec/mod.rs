//! What a message declaration becomes.
//!
//! ```text
//! api! {
//!     Heartbeat versions 0..=4, flexible from 4;        key, versions, first flexible version
//!     HeartbeatRequest => HeartbeatResponse;
//!
//!     pub struct HeartbeatRequest {
//!         pub group_id: String,
//!         pub epoch: i32 = -1 => [since(3).ignorable()],  default value, then where it exists
//!         …
//! ```
//!
//! A field without brackets exists in every version of its struct. `since` and `until` bound its
//! versions (both inclusive), `tag` makes it a tagged field, `nullable` says from which version on
//! an `Option` may be null (without it: wherever the field exists), and `ignorable` that a version
//! which lacks the field drops its value silently; otherwise a value that is not the default is an
//! error there, as in Kafka. `Option` fields default to `None`.

mod encoder;
mod error;
mod field;
mod read;
mod value;

#[cfg(test)]
pub(crate) mod random;

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};

pub(crate) use encoder::{Encoder, TagWriter};
pub use error::{DecodeError, EncodeError};
pub(crate) use field::Field;
pub(crate) use read::{read_i16, read_i32, read_unsigned_varint, take};
pub(crate) use value::Value;

use crate::ApiKey;

/// The first flexible version of a message that has none.
pub(crate) const NEVER: i16 = i16::MAX;

/// Where a value is encoded or decoded: what decides about its form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub version: i16,
    /// Compact lengths, and a section of tagged fields behind every struct.
    pub flexible: bool,
    /// May the value be null here?
    pub nullable: bool,
    /// `Struct.field`, for errors.
    pub field: &'static str,
}

/// A message body in any of its versions.
pub trait Message: Default {
    /// The versions that this codec knows; the broker advertises a part of them.
    const VALID_VERSIONS: RangeInclusive<i16>;

    /// Takes one message off the front of `buf`. Byte fields and record sets are slices of it, not
    /// copies. Memory taken is bounded by a small multiple of the bytes present: a count is checked
    /// against the bytes that remain before anything is allocated, and capacity starts at no more
    /// than 1,024 elements.
    fn decode(buf: &mut Bytes, version: i16) -> Result<Self, DecodeError>;

    /// Appends the message to `buf`. After an error the content of `buf` is unspecified.
    fn encode(&self, buf: &mut BytesMut, version: i16) -> Result<(), EncodeError>;

    /// As `encode`, into the crate's own encoder, which can leave big byte fields uncopied.
    #[doc(hidden)]
    fn encode_into(&self, out: &mut EncoderRef<'_>, version: i16) -> Result<(), EncodeError>;
}

/// Keeps [`Encoder`] out of the public interface while [`Message`] can still pass it on.
#[doc(hidden)]
#[derive(Debug)]
pub struct EncoderRef<'a>(pub(crate) &'a mut Encoder);

/// A request, with the API it belongs to and the response it gets.
pub trait Request: Message {
    /// The API.
    const API: ApiKey;
    /// The first version with compact lengths and tagged fields; decides the header's version too.
    const FLEXIBLE_FROM: i16;
    /// What answers it.
    type Response: Message;
}

/// A record of a coordinator's log, or part of the consumer protocol: bytes that begin with their
/// own int16 version.
pub trait Versioned: Message {
    /// A reader meets newer versions as the newest it knows (the consumer protocol's rule); if
    /// false, an unknown version is an error.
    const NEWER_READS_AS_LATEST: bool;

    /// The version, then the message.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut buf = BytesMut::with_capacity(64);
        buf.extend_from_slice(&version.to_be_bytes());
        self.encode(&mut buf, version)?;
        Ok(buf.freeze())
    }

    /// Reads the version, then the message. Bytes behind it are left alone, because newer writers
    /// of the consumer protocol may append fields.
    fn from_bytes(mut bytes: Bytes) -> Result<Self, DecodeError> {
        let version = read::read_i16(&mut bytes, "version")?;
        let latest = *Self::VALID_VERSIONS.end();
        let version = match Self::NEWER_READS_AS_LATEST && version > latest {
            true => latest,
            false => version,
        };
        Self::decode(&mut bytes, version)
    }
}

/// Checks a version against the valid ones.
pub(crate) fn check_decode<M: Message>(
    message: &'static str,
    version: i16,
) -> Result<(), DecodeError> {
    match M::VALID_VERSIONS.contains(&version) {
        true => Ok(()),
        false => Err(DecodeError::UnsupportedVersion {
            message,
            version,
            lowest: *M::VALID_VERSIONS.start(),
            highest: *M::VALID_VERSIONS.end(),
        }),
    }
}

/// Checks a version against the valid ones.
pub(crate) fn check_encode<M: Message>(
    message: &'static str,
    version: i16,
) -> Result<(), EncodeError> {
    match M::VALID_VERSIONS.contains(&version) {
        true => Ok(()),
        false => Err(EncodeError::UnsupportedVersion {
            message,
            version,
            lowest: *M::VALID_VERSIONS.start(),
            highest: *M::VALID_VERSIONS.end(),
        }),
    }
}

/// Encodes without splicing: everything lands in `buf`.
pub(crate) fn encode_flat<M: Message>(
    message: &M,
    buf: &mut BytesMut,
    version: i16,
) -> Result<(), EncodeError> {
    let mut out = Encoder::flat(std::mem::take(buf));
    let result = message.encode_into(&mut EncoderRef(&mut out), version);
    *buf = out.into_flat();
    result
}

/// One API: its request, its response and their structs.
macro_rules! api {
    (
        $api:ident versions $low:literal..=$high:literal, flexible from $flexible:expr;
        $request:ident => $response:ident;
        $($structs:tt)*
    ) => {
        $crate::codec::structs! { $($structs)* }
        $crate::codec::message! { $request, $low..=$high, $flexible }
        $crate::codec::message! { $response, $low..=$high, $flexible }

        impl $crate::Request for $request {
            const API: $crate::ApiKey = $crate::ApiKey::$api;
            const FLEXIBLE_FROM: i16 = $flexible;
            type Response = $response;
        }
    };
}
pub(crate) use api;

/// Makes a struct a top-level message.
macro_rules! message {
    ($name:ident, $low:literal..=$high:literal, $flexible:expr) => {
        impl $crate::Message for $name {
            const VALID_VERSIONS: std::ops::RangeInclusive<i16> = $low..=$high;

            fn decode(buf: &mut bytes::Bytes, version: i16) -> Result<Self, $crate::DecodeError> {
                $crate::codec::check_decode::<Self>(stringify!($name), version)?;
                let at = $crate::codec::At {
                    version,
                    flexible: version >= $flexible,
                    nullable: false,
                    field: stringify!($name),
                };
                $crate::codec::Value::read(buf, at)
            }

            fn encode(
                &self,
                buf: &mut bytes::BytesMut,
                version: i16,
            ) -> Result<(), $crate::EncodeError> {
                $crate::codec::encode_flat(self, buf, version)
            }

            fn encode_into(
                &self,
                out: &mut $crate::codec::EncoderRef<'_>,
                version: i16,
            ) -> Result<(), $crate::EncodeError> {
                $crate::codec::check_encode::<Self>(stringify!($name), version)?;
                let at = $crate::codec::At {
                    version,
                    flexible: version >= $flexible,
                    nullable: false,
                    field: stringify!($name),
                };
                $crate::codec::Value::write(self, out.0, at)
            }
        }

        #[cfg(test)]
        impl $crate::codec::random::RandomMessage for $name {
            fn random(random: &mut $crate::codec::random::Random, version: i16) -> Self {
                let at = $crate::codec::At {
                    version,
                    flexible: version >= $flexible,
                    nullable: false,
                    field: stringify!($name),
                };
                $crate::codec::Value::random(random, at)
            }
        }
    };
}
pub(crate) use message;

/// Reads one field of a message from the bytes behind its tag.
pub(crate) type ReadTagged<T> = fn(&mut T, &mut Bytes, At) -> Result<(), DecodeError>;

/// Reads the section of tagged fields; tags that nobody knows are passed over.
pub(crate) fn read_tags<T>(
    message: &mut T,
    fields: &[(Field, ReadTagged<T>)],
    input: &mut Bytes,
    at: At,
) -> Result<(), DecodeError> {
    let count = read_unsigned_varint(input, at.field)?;
    for _ in 0..count {
        let (tag, mut body) = Field::read_tag(input, at)?;
        let known = fields
            .iter()
            .find(|(field, _)| field.is_tagged_as(tag, at.version));
        if let Some((_, read)) = known {
            read(message, &mut body, at)?;
        }
    }
    Ok(())
}

/// Structs of fields: definition, default, encoder, decoder and (in tests) the generator.
macro_rules! structs {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                pub $field:ident : $type:ty $(= $default:expr)? $(=> [$($spec:tt)*])?,
            )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::codec::default_of!($type $(, $default)?),)* }
            }
        }

        impl $crate::codec::Value for $name {
            fn write(
                &self,
                out: &mut $crate::codec::Encoder,
                at: $crate::codec::At,
            ) -> Result<(), $crate::EncodeError> {
                $({
                    const FIELD: $crate::codec::Field =
                        $crate::codec::field_of!($name, $field $(, $($spec)*)?);
                    let default = || $crate::codec::default_of!($type $(, $default)?);
                    FIELD.write(&self.$field, default, out, at)?;
                })*
                if at.flexible {
                    let mut tags = $crate::codec::TagWriter::default();
                    $({
                        const FIELD: $crate::codec::Field =
                            $crate::codec::field_of!($name, $field $(, $($spec)*)?);
                        let default = || $crate::codec::default_of!($type $(, $default)?);
                        FIELD.write_tag(&self.$field, default, &mut tags, at)?;
                    })*
                    tags.finish(out);
                }
                Ok(())
            }

            fn read(
                input: &mut bytes::Bytes,
                at: $crate::codec::At,
            ) -> Result<Self, $crate::DecodeError> {
                const FIELDS: &[($crate::codec::Field, $crate::codec::ReadTagged<$name>)] = &[$({
                    const FIELD: $crate::codec::Field =
                        $crate::codec::field_of!($name, $field $(, $($spec)*)?);
                    (FIELD, |message, body, at| {
                        message.$field = FIELD.read_tagged(body, at)?;
                        Ok(())
                    })
                },)*];
                let mut message = Self {
                    $($field: {
                        const FIELD: $crate::codec::Field =
                            $crate::codec::field_of!($name, $field $(, $($spec)*)?);
                        FIELD.read(input, || $crate::codec::default_of!($type $(, $default)?), at)?
                    },)*
                };
                if at.flexible {
                    $crate::codec::read_tags(&mut message, FIELDS, input, at)?;
                }
                Ok(message)
            }

            #[cfg(test)]
            fn random(
                random: &mut $crate::codec::random::Random,
                at: $crate::codec::At,
            ) -> Self {
                Self {
                    $($field: {
                        const FIELD: $crate::codec::Field =
                            $crate::codec::field_of!($name, $field $(, $($spec)*)?);
                        let default = || $crate::codec::default_of!($type $(, $default)?);
                        FIELD.random(random, default, at)
                    },)*
                }
            }
        }
    )*};
}
pub(crate) use structs;

/// A field's default value.
macro_rules! default_of {
    ($type:ty) => {
        <$type as Default>::default()
    };
    ($type:ty, $default:expr) => {{
        let default: $type = $default;
        default
    }};
}
pub(crate) use default_of;

/// A field's [`Field`] from the brackets behind it.
macro_rules! field_of {
    ($name:ident, $field:ident) => {
        $crate::codec::Field::new(concat!(stringify!($name), ".", stringify!($field)))
    };
    ($name:ident, $field:ident, $($spec:tt)*) => {
        $crate::codec::Field::new(concat!(stringify!($name), ".", stringify!($field))).$($spec)*
    };
}
pub(crate) use field_of;
