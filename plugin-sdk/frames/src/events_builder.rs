//! Building an events frame: one growing buffer for the fields, one for each table; the tables are put behind the
//! fields at the end.

use crate::EventsView;
use crate::bytes::put;
use crate::layout::*;

/// What the frame's header says beside the counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventsOptions {
    /// Ask the plugin to mark each event before it works on it.
    pub mark: bool,
    /// Stream time in milliseconds.
    pub stream_time: i64,
    /// Wall time in milliseconds, only for plugins that declared it.
    pub wall_time: Option<i64>,
    /// `seed::stage_seed(pipeline, stage)`.
    pub seed_base: u64,
}

/// One run: the events that follow come from this input partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Index of the input in the open context.
    pub input: u16,
    pub partition: i32,
    pub leader_epoch: i32,
    /// `seed::run_seed(topic, partition)`.
    pub seed: u64,
}

/// A frame grows to at most this many bytes, so that every position fits its 32 bits; what would go beyond is not
/// taken (`record` answers false). Callers stop far below.
pub const FRAME_SIZE_MAX: usize = 1 << 30;

/// Builds events frames. `finish` gives the frame, `EventsFrame::recycle` gives the buffers back.
#[derive(Debug, Default)]
pub struct EventsBuilder {
    options: EventsOptions,
    /// The frame so far: room for the header, then fields.
    frame: Vec<u8>,
    runs: Vec<u8>,
    events: Vec<u8>,
    headers: Vec<u8>,
}

impl EventsBuilder {
    pub fn new(options: EventsOptions) -> Self {
        let mut builder = Self::default();
        builder.restart(options);
        builder
    }

    /// Forgets everything but the memory.
    pub fn restart(&mut self, options: EventsOptions) {
        self.options = options;
        self.frame.clear();
        self.frame.resize(EVENTS_HEADER_SIZE, 0);
        self.runs.clear();
        self.events.clear();
        self.headers.clear();
    }

    /// Opens a run. Every record belongs to the run opened last.
    pub fn run(&mut self, run: RunOptions) {
        let mut row = [0; RUN_ROW_SIZE];
        put(&mut row, 0, run.input.to_le_bytes());
        put(&mut row, 4, run.partition.to_le_bytes());
        put(&mut row, 8, run.leader_epoch.to_le_bytes());
        put(&mut row, 12, self.event_count().to_le_bytes());
        put(&mut row, 24, run.seed.to_le_bytes());
        self.runs.extend_from_slice(&row);
    }

    /// Adds a record to the open run. Returns false, and adds nothing, when the frame would pass `FRAME_SIZE_MAX`.
    ///
    /// Panics when no run is open: that is the caller's bug.
    #[inline]
    pub fn record<'h>(
        &mut self,
        offset: u64,
        timestamp: i64,
        log_append_time: bool,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    ) -> bool {
        let runs = self.runs.len() / RUN_ROW_SIZE;
        assert!(runs > 0, "a record needs an open run");
        let (frame_before, headers_before) = (self.frame.len(), self.headers.len());
        let mut row = [0; EVENT_ROW_SIZE];
        row[1] = if log_append_time {
            EVENT_FLAG_LOG_APPEND_TIME
        } else {
            0
        };
        put(&mut row, 4, (runs as u32 - 1).to_le_bytes());
        put(&mut row, 8, offset.to_le_bytes());
        put(&mut row, 16, timestamp.to_le_bytes());
        let mut whole = self.field(&mut row, 24, key) && self.field(&mut row, 32, value);
        let first_header = (headers_before / HEADER_ROW_SIZE) as u32;
        let mut header_count = 0_i32;
        for (name, value) in headers {
            let mut header = [0; HEADER_ROW_SIZE];
            whole = whole
                && self.field(&mut header, 0, Some(name))
                && self.field(&mut header, 8, value);
            if !whole {
                break;
            }
            self.headers.extend_from_slice(&header);
            header_count += 1;
        }
        if !whole || self.size() + EVENT_ROW_SIZE > FRAME_SIZE_MAX {
            self.frame.truncate(frame_before);
            self.headers.truncate(headers_before);
            return false;
        }
        put(&mut row, 40, first_header.to_le_bytes());
        put(&mut row, 44, header_count.to_le_bytes());
        self.events.extend_from_slice(&row);
        let count_at = self.runs.len() - RUN_ROW_SIZE + 16;
        let first_at = self.runs.len() - RUN_ROW_SIZE + 12;
        let first = crate::bytes::u32_at(&self.runs, first_at);
        let count = self.event_count() - first;
        put(&mut self.runs, count_at, count.to_le_bytes());
        true
    }

    /// Copies a field behind the others and writes its place into `row` at `at`; false when it does not fit.
    #[inline(always)]
    fn field(&mut self, row: &mut [u8], at: usize, field: Option<&[u8]>) -> bool {
        let Some(bytes) = field else {
            put(row, at + 4, (-1_i32).to_le_bytes());
            return true;
        };
        if bytes.len() > FRAME_SIZE_MAX - self.frame.len().min(FRAME_SIZE_MAX) {
            return false;
        }
        put(row, at, (self.frame.len() as u32).to_le_bytes());
        put(row, at + 4, (bytes.len() as i32).to_le_bytes());
        self.frame.extend_from_slice(bytes);
        true
    }

    /// Events so far.
    pub fn event_count(&self) -> u32 {
        (self.events.len() / EVENT_ROW_SIZE) as u32
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Bytes that the frame would have now.
    pub fn size(&self) -> usize {
        self.frame.len() + self.runs.len() + self.events.len() + self.headers.len() + 24
    }

    /// Puts the tables behind the fields and writes the header.
    pub fn finish(mut self) -> EventsFrame {
        let header_count = (self.headers.len() / HEADER_ROW_SIZE) as u32;
        let run_count = (self.runs.len() / RUN_ROW_SIZE) as u32;
        let event_count = self.event_count();
        self.frame
            .reserve(self.runs.len() + self.events.len() + self.headers.len() + 24);
        let runs_at = append_table(&mut self.frame, &self.runs);
        let events_at = append_table(&mut self.frame, &self.events);
        let headers_at = append_table(&mut self.frame, &self.headers);
        let header = &mut self.frame[..EVENTS_HEADER_SIZE];
        put(header, 0, EVENTS_MAGIC);
        header[2] = FRAME_VERSION;
        header[3] = if self.options.mark { FLAG_MARK } else { 0 }
            | if self.options.wall_time.is_some() {
                FLAG_WALL_TIME
            } else {
                0
            };
        put(header, 4, run_count.to_le_bytes());
        put(header, 8, event_count.to_le_bytes());
        put(header, 12, header_count.to_le_bytes());
        put(header, 16, runs_at.to_le_bytes());
        put(header, 20, events_at.to_le_bytes());
        put(header, 24, headers_at.to_le_bytes());
        put(header, 28, (RUN_ROW_SIZE as u16).to_le_bytes());
        put(header, 30, (EVENT_ROW_SIZE as u16).to_le_bytes());
        put(header, 32, (HEADER_ROW_SIZE as u16).to_le_bytes());
        put(header, 40, self.options.stream_time.to_le_bytes());
        put(
            header,
            48,
            self.options.wall_time.unwrap_or(0).to_le_bytes(),
        );
        put(header, 56, self.options.seed_base.to_le_bytes());
        EventsFrame {
            event_count,
            header_count,
            builder: self,
        }
    }
}

/// Appends a table at a multiple of 8 and says where it begins.
fn append_table(frame: &mut Vec<u8>, table: &[u8]) -> u32 {
    frame.resize(frame.len().next_multiple_of(8), 0);
    let at = frame.len() as u32;
    frame.extend_from_slice(table);
    at
}

/// A finished frame.
#[derive(Debug)]
pub struct EventsFrame {
    event_count: u32,
    header_count: u32,
    builder: EventsBuilder,
}

impl EventsFrame {
    pub fn bytes(&self) -> &[u8] {
        &self.builder.frame
    }

    pub fn event_count(&self) -> u32 {
        self.event_count
    }

    pub fn header_count(&self) -> u32 {
        self.header_count
    }

    /// The frame as its reader sees it.
    pub fn view(&self) -> EventsView<'_> {
        EventsView::parse(self.bytes()).expect("what the builder wrote can be read")
    }

    /// The builder with its memory, to build the next frame.
    pub fn recycle(self) -> EventsBuilder {
        self.builder
    }
}
