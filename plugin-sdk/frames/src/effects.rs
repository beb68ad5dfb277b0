//! Reading an effects frame: what the host does with what a plugin wrote.

use crate::FrameError;
use crate::bytes::{Table, fits, i32_at, i64_at, u16_at, u32_at};
use crate::events::{check_magic, read_header};
use crate::layout::*;

/// Where the bytes of a field stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldAt {
    Null,
    /// In the effects frame.
    Effects {
        position: u32,
        length: u32,
    },
    /// In the events frame of the call.
    Events {
        position: u32,
        length: u32,
    },
}

impl FieldAt {
    /// Bytes of the field; null has none.
    pub fn len(&self) -> u32 {
        match self {
            Self::Null => 0,
            Self::Effects { length, .. } | Self::Events { length, .. } => *length,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which header rows an output has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadersAt {
    /// Rows of the effects frame.
    Effects { first: u32, count: u32 },
    /// Rows of the events frame of the call.
    Events { first: u32, count: u32 },
}

/// One effect, checked: fields lie inside their frame, header rows exist, the event exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<'a> {
    Begin {
        event: u32,
    },
    Output {
        target: u16,
        /// `None`: the host chooses by the key.
        partition: Option<i32>,
        /// `None`: the event's own.
        timestamp: Option<i64>,
        key: FieldAt,
        value: FieldAt,
        headers: HeadersAt,
    },
    Fail {
        event: u32,
        code: u32,
        message: &'a str,
    },
}

/// What an effects frame may refer to in the events frame of the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsExtent {
    pub frame_size: usize,
    pub events: u32,
    pub headers: u32,
}

/// Reads an effects frame. Nothing is believed: the tables are checked on construction, header rows and effect rows
/// when they are read.
#[derive(Debug, Clone, Copy)]
pub struct EffectsReader<'a> {
    frame: &'a [u8],
    effects: Table,
    headers: Table,
    extent: EventsExtent,
}

impl<'a> EffectsReader<'a> {
    pub fn parse(frame: &'a [u8], extent: EventsExtent) -> Result<Self, FrameError> {
        let Some(header) = frame.get(..EFFECTS_HEADER_SIZE) else {
            return Err(FrameError::TooShort {
                length: frame.len(),
                header: EFFECTS_HEADER_SIZE,
            });
        };
        check_magic(header, EFFECTS_MAGIC)?;
        let table = |name, position, count, row_size, least| {
            let (position, rows) = (u32_at(header, position), u32_at(header, count));
            Table::check(
                name,
                position,
                rows,
                u16_at(header, row_size),
                least,
                frame.len(),
            )
        };
        Ok(Self {
            frame,
            effects: table("effect", 12, 4, 20, EFFECT_ROW_SIZE)?,
            headers: table("header", 16, 8, 22, HEADER_ROW_SIZE)?,
            extent,
        })
    }

    pub fn effect_count(&self) -> u32 {
        self.effects.rows
    }

    pub fn header_count(&self) -> u32 {
        self.headers.rows
    }

    /// Header row `index`: name and value as places in this frame.
    pub fn header(&self, index: u32) -> Result<(FieldAt, FieldAt), FrameError> {
        let row = self
            .headers
            .row(self.frame, index)
            .ok_or(FrameError::NoSuchRow {
                table: "header",
                row: index,
                rows: self.headers.rows,
            })?;
        let header = read_header(self.frame, index, row)?;
        let value = match header.value {
            None => FieldAt::Null,
            Some(value) => FieldAt::Effects {
                position: u32_at(row, 8),
                length: value.len() as u32,
            },
        };
        Ok((
            FieldAt::Effects {
                position: u32_at(row, 0),
                length: header.name.len() as u32,
            },
            value,
        ))
    }

    /// Effect row `index`.
    #[inline]
    pub fn effect(&self, index: u32) -> Result<Effect<'a>, FrameError> {
        let row = self
            .effects
            .row(self.frame, index)
            .ok_or(FrameError::NoSuchRow {
                table: "effect",
                row: index,
                rows: self.effects.rows,
            })?;
        let row: &[u8; EFFECT_ROW_SIZE] = row[..EFFECT_ROW_SIZE].try_into().expect("40 bytes");
        match row[0] {
            KIND_BEGIN => Ok(Effect::Begin {
                event: self.event_of(index, row)?,
            }),
            KIND_OUTPUT => self.output(index, row),
            KIND_FAIL => self.fail(index, row),
            kind => Err(FrameError::UnknownKind {
                table: "effect",
                row: index,
                kind,
            }),
        }
    }

    #[inline]
    fn output(&self, index: u32, row: &[u8]) -> Result<Effect<'a>, FrameError> {
        let flags = row[1];
        if flags & !(KEY_IN_EVENTS | VALUE_IN_EVENTS | HEADERS_IN_EVENTS) != 0 {
            return Err(FrameError::UnknownFlags {
                table: "effect",
                row: index,
                flags,
            });
        }
        let partition = match i32_at(row, 4) {
            PARTITION_BY_KEY => None,
            partition if partition >= 0 => Some(partition),
            partition => {
                return Err(FrameError::BadPartition {
                    row: index,
                    partition,
                });
            }
        };
        let timestamp = match i64_at(row, 8) {
            TIMESTAMP_OF_EVENT => None,
            timestamp if timestamp >= 0 => Some(timestamp),
            timestamp => {
                return Err(FrameError::BadTimestamp {
                    row: index,
                    timestamp,
                });
            }
        };
        let key = self.field(
            index,
            "key",
            flags & KEY_IN_EVENTS != 0,
            u32_at(row, 16),
            i32_at(row, 20),
        )?;
        let value = self.field(
            index,
            "value",
            flags & VALUE_IN_EVENTS != 0,
            u32_at(row, 24),
            i32_at(row, 28),
        )?;
        let headers = self.headers_at(
            index,
            flags & HEADERS_IN_EVENTS != 0,
            u32_at(row, 32),
            i32_at(row, 36),
        )?;
        Ok(Effect::Output {
            target: u16_at(row, 2),
            partition,
            timestamp,
            key,
            value,
            headers,
        })
    }

    fn fail(&self, index: u32, row: &[u8]) -> Result<Effect<'a>, FrameError> {
        let event = self.event_of(index, row)?;
        let code = i64_at(row, 8);
        let code = u32::try_from(code).map_err(|_| FrameError::IndexOutOfBounds {
            table: "effect",
            row: index,
            what: "code",
            index: code,
            count: u32::MAX,
        })?;
        let message = match self.field(index, "message", false, u32_at(row, 24), i32_at(row, 28))? {
            FieldAt::Effects { position, length } => {
                &self.frame[position as usize..position as usize + length as usize]
            }
            FieldAt::Null | FieldAt::Events { .. } => &[],
        };
        let message =
            std::str::from_utf8(message).map_err(|_| FrameError::MessageNotUtf8 { row: index })?;
        Ok(Effect::Fail {
            event,
            code,
            message,
        })
    }

    fn event_of(&self, index: u32, row: &[u8]) -> Result<u32, FrameError> {
        let event = i32_at(row, 4);
        match u32::try_from(event) {
            Ok(number) if number < self.extent.events => Ok(number),
            _ => Err(FrameError::IndexOutOfBounds {
                table: "effect",
                row: index,
                what: "event",
                index: i64::from(event),
                count: self.extent.events,
            }),
        }
    }

    #[inline(always)]
    fn field(
        &self,
        row: u32,
        field: &'static str,
        in_events: bool,
        position: u32,
        length: i32,
    ) -> Result<FieldAt, FrameError> {
        if length == -1 {
            return Ok(FieldAt::Null);
        }
        let frame = if in_events {
            self.extent.frame_size
        } else {
            self.frame.len()
        };
        match u32::try_from(length) {
            Ok(size) if fits(position, size, frame) => Ok(if in_events {
                FieldAt::Events {
                    position,
                    length: size,
                }
            } else {
                FieldAt::Effects {
                    position,
                    length: size,
                }
            }),
            _ => Err(FrameError::FieldOutOfBounds {
                table: "effect",
                row,
                field,
                position,
                length,
                frame,
            }),
        }
    }

    #[inline(always)]
    fn headers_at(
        &self,
        row: u32,
        in_events: bool,
        first: u32,
        count: i32,
    ) -> Result<HeadersAt, FrameError> {
        let rows = if in_events {
            self.extent.headers
        } else {
            self.headers.rows
        };
        match u32::try_from(count) {
            Ok(0) => Ok(HeadersAt::Effects { first: 0, count: 0 }),
            Ok(number) if u64::from(first) + u64::from(number) <= u64::from(rows) => {
                Ok(if in_events {
                    HeadersAt::Events {
                        first,
                        count: number,
                    }
                } else {
                    HeadersAt::Effects {
                        first,
                        count: number,
                    }
                })
            }
            _ => Err(FrameError::HeadersOutOfBounds {
                table: "effect",
                row,
                first,
                count,
                rows,
            }),
        }
    }
}
