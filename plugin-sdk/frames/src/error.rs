//! What can be wrong with a frame.

use std::fmt;

/// A frame that breaks its layout. The facts name what was read and what would have fitted.
///
/// The messages are written by hand: this crate is compiled into every plugin, and a derive would bring `syn` along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    TooShort {
        length: usize,
        header: usize,
    },
    WrongMagic {
        found: [u8; 2],
        expected: [u8; 2],
    },
    UnknownVersion {
        found: u8,
        newest: u8,
    },
    RowTooSmall {
        table: &'static str,
        found: usize,
        least: usize,
    },
    TableOutOfBounds {
        table: &'static str,
        rows: u32,
        row_size: usize,
        position: u32,
        length: usize,
    },
    FieldOutOfBounds {
        table: &'static str,
        row: u32,
        field: &'static str,
        position: u32,
        length: i32,
        frame: usize,
    },
    HeadersOutOfBounds {
        table: &'static str,
        row: u32,
        first: u32,
        count: i32,
        rows: u32,
    },
    UnknownKind {
        table: &'static str,
        row: u32,
        kind: u8,
    },
    UnknownFlags {
        table: &'static str,
        row: u32,
        flags: u8,
    },
    IndexOutOfBounds {
        table: &'static str,
        row: u32,
        what: &'static str,
        index: i64,
        count: u32,
    },
    BadPartition {
        row: u32,
        partition: i32,
    },
    BadTimestamp {
        row: u32,
        timestamp: i64,
    },
    NoSuchRow {
        table: &'static str,
        row: u32,
        rows: u32,
    },
    MessageNotUtf8 {
        row: u32,
    },
}

impl std::error::Error for FrameError {}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { length, header } => write!(
                f,
                "the frame has {length} bytes, its header alone has {header}"
            ),
            Self::WrongMagic { found, expected } => write!(
                f,
                "the frame begins with {found:02x?} instead of {expected:02x?}"
            ),
            Self::UnknownVersion { found, newest } => write!(
                f,
                "the frame has version {found}; the newest that can be read is {newest}"
            ),
            Self::RowTooSmall {
                table,
                found,
                least,
            } => write!(
                f,
                "rows of the {table} table have {found} bytes; at least {least} are needed"
            ),
            Self::TableOutOfBounds {
                table,
                rows,
                row_size,
                position,
                length,
            } => write!(
                f,
                "the {table} table ({rows} rows of {row_size} bytes at {position}) reaches past the frame's end at \
                 {length}"
            ),
            Self::FieldOutOfBounds {
                table,
                row,
                field,
                position,
                length,
                frame,
            } => write!(
                f,
                "{field} of {table} row {row} ({length} bytes at {position}) reaches past the frame's end at {frame}"
            ),
            Self::HeadersOutOfBounds {
                table,
                row,
                first,
                count,
                rows,
            } => write!(
                f,
                "{table} row {row} names header rows {first} to {first} + {count}, of {rows}"
            ),
            Self::UnknownKind { table, row, kind } => write!(
                f,
                "{table} row {row} has kind {kind}, which this version does not know"
            ),
            Self::UnknownFlags { table, row, flags } => write!(
                f,
                "{table} row {row} has flags {flags:#04x}, which this version does not know"
            ),
            Self::IndexOutOfBounds {
                table,
                row,
                what,
                index,
                count,
            } => write!(f, "{table} row {row} names {what} {index}, of {count}"),
            Self::BadPartition { row, partition } => write!(
                f,
                "effect row {row} has partition {partition}; it must be −1 (by key) or a partition"
            ),
            Self::BadTimestamp { row, timestamp } => write!(
                f,
                "effect row {row} has timestamp {timestamp}; it must be 0 or later"
            ),
            Self::NoSuchRow { table, row, rows } => {
                write!(f, "row {row} does not exist; the {table} table has {rows}")
            }
            Self::MessageNotUtf8 { row } => {
                write!(f, "the message of effect row {row} is not UTF-8")
            }
        }
    }
}
