//! Reading an events frame.

use crate::FrameError;
use crate::bytes::{Table, fits, i32_at, i64_at, u16_at, u32_at, u64_at};
use crate::layout::*;

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Record,
    Timer,
    StreamTime,
    End,
}

/// Consecutive events of one input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Index of the input in the open context.
    pub input: u16,
    pub partition: i32,
    pub leader_epoch: i32,
    pub first_event: u32,
    pub count: u32,
    pub seed: u64,
}

/// One event; its fields point into the frame.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    pub kind: EventKind,
    pub log_append_time: bool,
    /// Index of its run.
    pub run: u32,
    pub offset: u64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// A checked header of the frame. Rows are checked when they are read.
#[derive(Debug, Clone, Copy)]
pub struct EventsView<'a> {
    frame: &'a [u8],
    flags: u8,
    runs: Table,
    events: Table,
    headers: Table,
    stream_time: i64,
    wall_time: i64,
    seed_base: u64,
}

impl<'a> EventsView<'a> {
    /// Checks the header and that every table lies inside the frame.
    pub fn parse(frame: &'a [u8]) -> Result<Self, FrameError> {
        let Some(header) = frame.get(..EVENTS_HEADER_SIZE) else {
            return Err(FrameError::TooShort {
                length: frame.len(),
                header: EVENTS_HEADER_SIZE,
            });
        };
        check_magic(header, EVENTS_MAGIC)?;
        let length = frame.len();
        let table = |name, position, count, row_size, least| {
            Table::check(
                name,
                u32_at(header, position),
                u32_at(header, count),
                u16_at(header, row_size),
                least,
                length,
            )
        };
        Ok(Self {
            frame,
            flags: header[3],
            runs: table("run", 16, 4, 28, RUN_ROW_SIZE)?,
            events: table("event", 20, 8, 30, EVENT_ROW_SIZE)?,
            headers: table("header", 24, 12, 32, HEADER_ROW_SIZE)?,
            stream_time: i64_at(header, 40),
            wall_time: i64_at(header, 48),
            seed_base: u64_at(header, 56),
        })
    }

    /// The whole frame.
    pub fn bytes(&self) -> &'a [u8] {
        self.frame
    }

    /// True when the plugin has to call `mark` before each event.
    pub fn mark(&self) -> bool {
        self.flags & FLAG_MARK != 0
    }

    /// Stream time in milliseconds.
    pub fn stream_time(&self) -> i64 {
        self.stream_time
    }

    /// Wall time in milliseconds, when the plugin declared that it wants it.
    pub fn wall_time(&self) -> Option<i64> {
        (self.flags & FLAG_WALL_TIME != 0).then_some(self.wall_time)
    }

    /// Hash of pipeline and stage.
    pub fn seed_base(&self) -> u64 {
        self.seed_base
    }

    pub fn run_count(&self) -> u32 {
        self.runs.rows
    }

    pub fn event_count(&self) -> u32 {
        self.events.rows
    }

    pub fn header_count(&self) -> u32 {
        self.headers.rows
    }

    /// Run number `index`.
    pub fn run(&self, index: u32) -> Result<Run, FrameError> {
        let row = self
            .runs
            .row(self.frame, index)
            .ok_or(FrameError::NoSuchRow {
                table: "run",
                row: index,
                rows: self.runs.rows,
            })?;
        Ok(Run {
            input: u16_at(row, 0),
            partition: i32_at(row, 4),
            leader_epoch: i32_at(row, 8),
            first_event: u32_at(row, 12),
            count: u32_at(row, 16),
            seed: u64_at(row, 24),
        })
    }

    /// Event number `index`.
    #[inline]
    pub fn event(&self, index: u32) -> Result<Event<'a>, FrameError> {
        let row = self
            .events
            .row(self.frame, index)
            .ok_or(FrameError::NoSuchRow {
                table: "event",
                row: index,
                rows: self.events.rows,
            })?;
        let row: &[u8; EVENT_ROW_SIZE] = row[..EVENT_ROW_SIZE].try_into().expect("48 bytes");
        let kind = match row[0] {
            0 => EventKind::Record,
            1 => EventKind::Timer,
            2 => EventKind::StreamTime,
            3 => EventKind::End,
            kind => {
                return Err(FrameError::UnknownKind {
                    table: "event",
                    row: index,
                    kind,
                });
            }
        };
        let run = u32_at(row, 4);
        if run >= self.runs.rows {
            return Err(FrameError::IndexOutOfBounds {
                table: "event",
                row: index,
                what: "run",
                index: i64::from(run),
                count: self.runs.rows,
            });
        }
        Ok(Event {
            kind,
            log_append_time: row[1] & EVENT_FLAG_LOG_APPEND_TIME != 0,
            run,
            offset: u64_at(row, 8),
            timestamp: i64_at(row, 16),
            key: nullable(
                self.frame,
                "event",
                index,
                "key",
                u32_at(row, 24),
                i32_at(row, 28),
            )?,
            value: nullable(
                self.frame,
                "event",
                index,
                "value",
                u32_at(row, 32),
                i32_at(row, 36),
            )?,
            headers: self.headers_of(index, u32_at(row, 40), i32_at(row, 44))?,
        })
    }

    fn headers_of(&self, row: u32, first: u32, count: i32) -> Result<Headers<'a>, FrameError> {
        if count == 0 {
            return Ok(Headers {
                frame: self.frame,
                table: self.headers,
                first: 0,
                count: 0,
            });
        }
        self.header_range(first, count)
            .ok_or(FrameError::HeadersOutOfBounds {
                table: "event",
                row,
                first,
                count,
                rows: self.headers.rows,
            })
    }

    /// `count` header rows from `first` on; `None` when the table is shorter.
    pub fn header_range(&self, first: u32, count: i32) -> Option<Headers<'a>> {
        let count = u32::try_from(count).ok()?;
        let end = first.checked_add(count)?;
        (end <= self.headers.rows).then_some(Headers {
            frame: self.frame,
            table: self.headers,
            first,
            count,
        })
    }
}

/// Headers of one record: rows of the header table. A row is checked when it is read.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    frame: &'a [u8],
    table: Table,
    first: u32,
    count: u32,
}

impl<'a> Headers<'a> {
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// First row and count, as an effect row names them.
    pub fn rows(&self) -> (u32, u32) {
        (self.first, self.count)
    }

    pub fn iter(&self) -> impl Iterator<Item = Result<Header<'a>, FrameError>> + use<'a> {
        let this = *self;
        (0..this.count).map(move |index| {
            let number = this.first + index;
            let row = this
                .table
                .row(this.frame, number)
                .ok_or(FrameError::NoSuchRow {
                    table: "header",
                    row: number,
                    rows: this.table.rows,
                })?;
            read_header(this.frame, number, row)
        })
    }
}

/// A header row, its fields checked against `frame`.
pub(crate) fn read_header<'a>(
    frame: &'a [u8],
    number: u32,
    row: &[u8],
) -> Result<Header<'a>, FrameError> {
    let (position, length) = (u32_at(row, 0), i32_at(row, 4));
    let name = nullable(frame, "header", number, "name", position, length)?.ok_or(
        FrameError::FieldOutOfBounds {
            table: "header",
            row: number,
            field: "name",
            position,
            length,
            frame: frame.len(),
        },
    )?;
    Ok(Header {
        name,
        value: nullable(
            frame,
            "header",
            number,
            "value",
            u32_at(row, 8),
            i32_at(row, 12),
        )?,
    })
}

/// The bytes of a field; −1 is null.
#[inline(always)]
fn nullable<'a>(
    frame: &'a [u8],
    table: &'static str,
    row: u32,
    field: &'static str,
    position: u32,
    length: i32,
) -> Result<Option<&'a [u8]>, FrameError> {
    if length == -1 {
        return Ok(None);
    }
    match u32::try_from(length) {
        Ok(size) if fits(position, size, frame.len()) => {
            Ok(frame.get(position as usize..position as usize + size as usize))
        }
        _ => Err(FrameError::FieldOutOfBounds {
            table,
            row,
            field,
            position,
            length,
            frame: frame.len(),
        }),
    }
}

/// Checks magic and version of either frame.
pub(crate) fn check_magic(header: &[u8], expected: [u8; 2]) -> Result<(), FrameError> {
    let found = [header[0], header[1]];
    if found != expected {
        return Err(FrameError::WrongMagic { found, expected });
    }
    if header[2] == 0 || header[2] > FRAME_VERSION {
        return Err(FrameError::UnknownVersion {
            found: header[2],
            newest: FRAME_VERSION,
        });
    }
    Ok(())
}
