//! Why a message could not be decoded or encoded.

/// Bytes that are no message. `field` is `Struct.field` of the declaration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The version is none that the codec knows.
    #[error("{message} version {version} is unknown (known: {lowest} to {highest})")]
    UnsupportedVersion {
        message: &'static str,
        version: i16,
        lowest: i16,
        highest: i16,
    },
    /// The API key is none that the codec knows.
    #[error("API key {0} is unknown")]
    UnknownApi(i16),
    /// The bytes end within a field.
    #[error("{field} needs {needed} bytes, {remaining} are left")]
    Truncated {
        field: &'static str,
        needed: usize,
        remaining: usize,
    },
    /// An array claims more elements than there are bytes left.
    #[error("{field} claims {count} elements, {remaining} bytes are left")]
    CountTooLarge {
        field: &'static str,
        count: u64,
        remaining: usize,
    },
    /// A length below zero that does not mean null, or one beyond what the type may have.
    #[error("{field} has the length {length}")]
    InvalidLength { field: &'static str, length: i64 },
    /// Null, where this version does not allow it.
    #[error("{field} is null, which version {version} does not allow")]
    NullNotAllowed { field: &'static str, version: i16 },
    /// A string that is not UTF-8.
    #[error("{field} is not UTF-8 (from byte {valid_up_to} on)")]
    InvalidUtf8 {
        field: &'static str,
        valid_up_to: usize,
    },
    /// A variable-length integer that does not end or does not fit in 32 bits.
    #[error("{field} has a malformed variable-length integer")]
    InvalidVarint { field: &'static str },
    /// A known tagged field is followed by bytes within its own size.
    #[error("{field} has {extra} bytes behind its value")]
    TagTooLong { field: &'static str, extra: usize },
}

/// A message that has no form in a version. `field` is `Struct.field` of the declaration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The version is none that the codec knows.
    #[error("{message} version {version} is unknown (known: {lowest} to {highest})")]
    UnsupportedVersion {
        message: &'static str,
        version: i16,
        lowest: i16,
        highest: i16,
    },
    /// A field is set that does not exist in this version and may not be dropped.
    #[error("{field} is set and does not exist in version {version}")]
    NotInVersion { field: &'static str, version: i16 },
    /// Null, where this version does not allow it.
    #[error("{field} is null, which version {version} does not allow")]
    NullNotAllowed { field: &'static str, version: i16 },
    /// A string, byte field or array that its length field cannot express.
    #[error("{field} is {length} long, at most {limit} is possible")]
    TooLong {
        field: &'static str,
        length: usize,
        limit: usize,
    },
    /// A frame of more than 2 GiB.
    #[error("a frame of {0} bytes is longer than its length prefix can say")]
    FrameTooLong(usize),
}
