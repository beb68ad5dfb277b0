//! Writing (plugin) and reading (host) an effects frame.

use crate::FrameError;
use crate::bytes::{Table, fits, i32_at, i64_at, put, u16_at, u32_at};
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

/// Builds effects frames in one growing buffer for fields and one for each table.
#[derive(Debug, Default)]
pub struct EffectsWriter {
    frame: Vec<u8>,
    effects: Vec<u8>,
    headers: Vec<u8>,
}

impl EffectsWriter {
    pub fn new() -> Self {
        let mut writer = Self::default();
        writer.clear();
        writer
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.frame.clear();
        self.frame.resize(EFFECTS_HEADER_SIZE, 0);
        self.effects.clear();
        self.headers.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    pub fn effect_count(&self) -> u32 {
        (self.effects.len() / EFFECT_ROW_SIZE) as u32
    }

    /// Bytes that the frame would have now.
    pub fn size(&self) -> usize {
        self.frame.len() + self.effects.len() + self.headers.len() + 16
    }

    /// Opens event `event`.
    #[inline]
    pub fn begin(&mut self, event: u32) {
        let mut row = [0; EFFECT_ROW_SIZE];
        row[0] = KIND_BEGIN;
        put(&mut row, 4, event.to_le_bytes());
        put(&mut row, 20, (-1_i32).to_le_bytes());
        put(&mut row, 28, (-1_i32).to_le_bytes());
        self.effects.extend_from_slice(&row);
    }

    /// Undoes everything since `begin(event)`, in the host's eyes, and closes the event.
    pub fn fail(&mut self, event: u32, code: u32, message: &str) {
        let message = self.field(message.as_bytes());
        let mut row = [0; EFFECT_ROW_SIZE];
        row[0] = KIND_FAIL;
        put(&mut row, 4, event.to_le_bytes());
        put(&mut row, 8, i64::from(code).to_le_bytes());
        put(&mut row, 20, (-1_i32).to_le_bytes());
        write_field(&mut row, 24, VALUE_IN_EVENTS, message);
        self.effects.extend_from_slice(&row);
    }

    /// Copies bytes into the frame, to be named by an output.
    #[inline]
    pub fn field(&mut self, bytes: &[u8]) -> FieldAt {
        let position = self.frame.len() as u32;
        self.frame.extend_from_slice(bytes);
        FieldAt::Effects {
            position,
            length: bytes.len() as u32,
        }
    }

    /// Copies bytes into the frame and lets `change` work on the copy.
    #[inline]
    pub fn field_changed(&mut self, bytes: &[u8], change: impl FnOnce(&mut [u8])) -> FieldAt {
        let position = self.frame.len();
        self.frame.extend_from_slice(bytes);
        change(&mut self.frame[position..]);
        FieldAt::Effects {
            position: position as u32,
            length: bytes.len() as u32,
        }
    }

    /// Lets `write` append bytes to the frame and names what it appended. When it fails nothing is appended.
    pub fn field_with<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<FieldAt, E> {
        let position = self.frame.len();
        if let Err(error) = write(&mut self.frame) {
            self.frame.truncate(position);
            return Err(error);
        }
        let length = (self.frame.len() - position) as u32;
        Ok(FieldAt::Effects {
            position: position as u32,
            length,
        })
    }

    /// Adds an output of the open event and returns its row, for the setters below.
    #[inline]
    pub fn output(&mut self, target: u16, key: FieldAt, value: FieldAt) -> u32 {
        let index = self.effect_count();
        let mut row = [0; EFFECT_ROW_SIZE];
        row[0] = KIND_OUTPUT;
        put(&mut row, 2, target.to_le_bytes());
        put(&mut row, 4, PARTITION_BY_KEY.to_le_bytes());
        put(&mut row, 8, TIMESTAMP_OF_EVENT.to_le_bytes());
        write_field(&mut row, 16, KEY_IN_EVENTS, key);
        write_field(&mut row, 24, VALUE_IN_EVENTS, value);
        self.effects.extend_from_slice(&row);
        index
    }

    /// The output goes to this partition instead of one chosen by its key.
    pub fn set_partition(&mut self, output: u32, partition: i32) {
        put(self.row(output), 4, partition.to_le_bytes());
    }

    /// The output has this timestamp (milliseconds) instead of the event's.
    pub fn set_timestamp(&mut self, output: u32, timestamp: i64) {
        put(self.row(output), 8, timestamp.to_le_bytes());
    }

    /// The output has the header rows `first` to `first + count` of the events frame.
    pub fn set_headers_of_event(&mut self, output: u32, first: u32, count: u32) {
        let row = self.row(output);
        row[1] |= HEADERS_IN_EVENTS;
        put(row, 32, first.to_le_bytes());
        put(row, 36, count.to_le_bytes());
    }

    /// The output has no headers again.
    pub fn clear_headers(&mut self, output: u32) {
        let row = self.row(output);
        row[1] &= !HEADERS_IN_EVENTS;
        put(row, 32, 0_u32.to_le_bytes());
        put(row, 36, 0_i32.to_le_bytes());
    }

    /// Adds a header to the newest output, whose headers stand in this frame.
    pub fn add_header(&mut self, output: u32, name: &[u8], value: Option<&[u8]>) {
        let name = self.field(name);
        let value = value.map_or(FieldAt::Null, |value| self.field(value));
        let mut header = [0; HEADER_ROW_SIZE];
        write_place(&mut header, 0, name);
        write_place(&mut header, 8, value);
        let first = (self.headers.len() / HEADER_ROW_SIZE) as u32;
        self.headers.extend_from_slice(&header);
        let row = self.row(output);
        let count = i32_at(row, 36);
        if count == 0 {
            put(row, 32, first.to_le_bytes());
        }
        put(row, 36, (count + 1).to_le_bytes());
    }

    fn row(&mut self, index: u32) -> &mut [u8] {
        let at = index as usize * EFFECT_ROW_SIZE;
        &mut self.effects[at..at + EFFECT_ROW_SIZE]
    }

    /// Puts the tables behind the fields, writes the header and gives the whole frame. Call `clear` before the next.
    pub fn finish(&mut self) -> &[u8] {
        let effect_count = self.effect_count();
        let header_count = (self.headers.len() / HEADER_ROW_SIZE) as u32;
        self.frame
            .reserve(self.effects.len() + self.headers.len() + 16);
        self.frame.resize(self.frame.len().next_multiple_of(8), 0);
        let effects_at = self.frame.len() as u32;
        self.frame.extend_from_slice(&self.effects);
        let headers_at = self.frame.len() as u32;
        self.frame.extend_from_slice(&self.headers);
        let header = &mut self.frame[..EFFECTS_HEADER_SIZE];
        put(header, 0, EFFECTS_MAGIC);
        header[2] = FRAME_VERSION;
        put(header, 4, effect_count.to_le_bytes());
        put(header, 8, header_count.to_le_bytes());
        put(header, 12, effects_at.to_le_bytes());
        put(header, 16, headers_at.to_le_bytes());
        put(header, 20, (EFFECT_ROW_SIZE as u16).to_le_bytes());
        put(header, 22, (HEADER_ROW_SIZE as u16).to_le_bytes());
        &self.frame
    }
}

/// Writes a field's place and, when it stands in the events frame, the flag that says so.
#[inline(always)]
fn write_field(row: &mut [u8], at: usize, flag: u8, field: FieldAt) {
    if matches!(field, FieldAt::Events { .. }) {
        row[1] |= flag;
    }
    write_place(row, at, field);
}

#[inline(always)]
fn write_place(row: &mut [u8], at: usize, field: FieldAt) {
    match field {
        FieldAt::Null => put(row, at + 4, (-1_i32).to_le_bytes()),
        FieldAt::Effects { position, length } | FieldAt::Events { position, length } => {
            put(row, at, position.to_le_bytes());
            put(row, at + 4, length.to_le_bytes());
        }
    }
}
