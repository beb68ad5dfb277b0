//! What can be wrong with a frame.

/// A frame that breaks its layout. The facts name what was read and what would have fitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the frame has {length} bytes, its header alone has {header}")]
    TooShort { length: usize, header: usize },
    #[error("the frame begins with {found:02x?} instead of {expected:02x?}")]
    WrongMagic { found: [u8; 2], expected: [u8; 2] },
    #[error("the frame has version {found}; the newest that can be read is {newest}")]
    UnknownVersion { found: u8, newest: u8 },
    #[error("rows of the {table} table have {found} bytes; at least {least} are needed")]
    RowTooSmall {
        table: &'static str,
        found: usize,
        least: usize,
    },
    #[error(
        "the {table} table ({rows} rows of {row_size} bytes at {position}) reaches past the frame's end at {length}"
    )]
    TableOutOfBounds {
        table: &'static str,
        rows: u32,
        row_size: usize,
        position: u32,
        length: usize,
    },
    #[error(
        "{field} of {table} row {row} ({length} bytes at {position}) reaches past the frame's end at {frame}"
    )]
    FieldOutOfBounds {
        table: &'static str,
        row: u32,
        field: &'static str,
        position: u32,
        length: i32,
        frame: usize,
    },
    #[error("{table} row {row} names header rows {first} to {first} + {count}, of {rows}")]
    HeadersOutOfBounds {
        table: &'static str,
        row: u32,
        first: u32,
        count: i32,
        rows: u32,
    },
    #[error("{table} row {row} has kind {kind}, which this version does not know")]
    UnknownKind {
        table: &'static str,
        row: u32,
        kind: u8,
    },
    #[error("{table} row {row} has flags {flags:#04x}, which this version does not know")]
    UnknownFlags {
        table: &'static str,
        row: u32,
        flags: u8,
    },
    #[error("{table} row {row} names {what} {index}, of {count}")]
    IndexOutOfBounds {
        table: &'static str,
        row: u32,
        what: &'static str,
        index: i64,
        count: u32,
    },
    #[error("effect row {row} has partition {partition}; it must be −1 (by key) or a partition")]
    BadPartition { row: u32, partition: i32 },
    #[error("effect row {row} has timestamp {timestamp}; it must be 0 or later")]
    BadTimestamp { row: u32, timestamp: i64 },
    #[error("row {row} does not exist; the {table} table has {rows}")]
    NoSuchRow {
        table: &'static str,
        row: u32,
        rows: u32,
    },
    #[error("the message of effect row {row} is not UTF-8")]
    MessageNotUtf8 { row: u32 },
}
