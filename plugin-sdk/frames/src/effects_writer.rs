//! Writing an effects frame: what a plugin does.

use crate::FieldAt;
use crate::bytes::{i32_at, put};
use crate::layout::*;

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
