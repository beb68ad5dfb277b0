//! Input records become events frames.

use millstream_plugin_host::frames::{EventsBuilder, EventsFrame, EventsOptions, RunOptions, seed};
use millstream_records::Record;

/// Events of one call, at most: enough that a call's own cost does not count.
const EVENTS_MAX: usize = 8192;
/// Bytes of a frame, about: what fits the processor's cache. A single larger record goes alone.
const FRAME_BYTES: usize = 512 * 1024;

/// What the task remembers of an event while the plugin works on it.
#[derive(Debug, Clone, Copy)]
pub struct EventAt {
    pub offset: i64,
    pub timestamp: i64,
}

/// Collects the events of one call.
#[derive(Debug)]
pub struct FrameWriter {
    builder: EventsBuilder,
    pub events: Vec<EventAt>,
    seed_base: u64,
    /// Input and leader epoch of the open run.
    run: Option<(u16, i32)>,
}

/// Where records come from.
#[derive(Debug, Clone, Copy)]
pub struct RunSource {
    pub input: u16,
    pub partition: i32,
    pub leader_epoch: i32,
    pub seed: u64,
    pub log_append_time: bool,
}

impl FrameWriter {
    pub fn new(pipeline: &str, stage: &str) -> Self {
        let seed_base = seed::stage_seed(pipeline, stage);
        FrameWriter {
            builder: EventsBuilder::new(options(seed_base, false)),
            events: Vec::new(),
            seed_base,
            run: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Does the record still belong into this frame?
    #[inline]
    pub fn has_room(&self, record: &Record<'_>) -> bool {
        let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        self.events.is_empty()
            || (self.events.len() < EVENTS_MAX && self.builder.size() + size <= FRAME_BYTES)
    }

    /// Adds a record; false when no frame can hold it.
    #[inline]
    pub fn add(&mut self, from: &RunSource, record: &Record<'_>) -> bool {
        if self.run != Some((from.input, from.leader_epoch)) {
            self.run = Some((from.input, from.leader_epoch));
            self.builder.run(RunOptions {
                input: from.input,
                partition: from.partition,
                leader_epoch: from.leader_epoch,
                seed: from.seed,
            });
        }
        let taken = self.builder.record(
            record.offset.unsigned_abs(),
            record.timestamp,
            from.log_append_time,
            record.key,
            record.value,
            record.headers,
        );
        if taken {
            self.events.push(EventAt {
                offset: record.offset,
                timestamp: record.timestamp,
            });
        }
        taken
    }

    /// The frame of what was added. Give it back with [`FrameWriter::recycle`].
    pub fn finish(&mut self) -> EventsFrame {
        self.run = None;
        std::mem::take(&mut self.builder).finish()
    }

    /// Begins the next frame in the memory of the last one.
    pub fn recycle(&mut self, frame: EventsFrame) {
        self.builder = frame.recycle();
        self.builder.restart(options(self.seed_base, false));
        self.events.clear();
        self.run = None;
    }

    /// The events of a frame from `first` on as a frame of their own, with or without the wish for
    /// marks.
    pub fn rest(&self, frame: &EventsFrame, first: u32, mark: bool) -> EventsFrame {
        let mut builder = EventsBuilder::new(options(self.seed_base, mark));
        let view = frame.view();
        let mut open_run = None;
        for index in first..view.event_count() {
            let event = view.event(index).expect(OWN_FRAME);
            if open_run != Some(event.run) {
                open_run = Some(event.run);
                let run = view.run(event.run).expect(OWN_FRAME);
                builder.run(RunOptions {
                    input: run.input,
                    partition: run.partition,
                    leader_epoch: run.leader_epoch,
                    seed: run.seed,
                });
            }
            let headers = event.headers.iter().map(|header| {
                let header = header.expect(OWN_FRAME);
                (header.name, header.value)
            });
            let taken = builder.record(
                event.offset,
                event.timestamp,
                event.log_append_time,
                event.key,
                event.value,
                headers,
            );
            assert!(taken, "a part of a frame is not larger than the frame");
        }
        builder.finish()
    }
}

const OWN_FRAME: &str = "the host's own frame can be read";

fn options(seed_base: u64, mark: bool) -> EventsOptions {
    EventsOptions {
        mark,
        seed_base,
        ..EventsOptions::default()
    }
}
