//! The capability `effects`: takes in what a guest emits during one call.
//!
//! A frame is read where it stands in the guest's memory; its rows are checked and kept as plain structs, and the
//! part of it that holds fields is copied once, because the guest may reuse its memory when `emit` returns.

use millstream_frames::layout::{EFFECTS_HEADER_SIZE, PARTITION_BY_KEY, TIMESTAMP_OF_EVENT};
use millstream_frames::{Effect, EffectsReader, EventsExtent, FieldAt, FrameError, HeadersAt};
use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, WasmList};

use crate::failure::PluginFailure;
use crate::guest_state::{GuestState, Phase};
use crate::limits::{REFUSAL_BYTES_MAX, cut};

/// Bytes that an output counts beside its fields.
const OUTPUT_ROW_BYTES: usize = 40;
/// Copied fields of one call never pass this, whatever the limits say, so that a position fits 32 bits.
const COPIED_BYTES_MAX: usize = 1 << 30;

/// One output, checked. Positions of `FieldAt::Effects` count from the start of `Collected::bytes`.
#[derive(Debug, Clone, Copy)]
pub struct OutputRow {
    pub target: u16,
    /// −1: by key.
    pub partition: i32,
    /// The smallest number: the event's.
    pub timestamp: i64,
    pub key: FieldAt,
    pub value: FieldAt,
    /// `HeadersAt::Effects` names rows of `Collected::headers`.
    pub headers: HeadersAt,
}

/// The effects of one event.
#[derive(Debug, Clone)]
pub struct Group {
    pub event: u32,
    pub first_row: u32,
    pub rows: u32,
    pub refused: Option<(u32, String)>,
}

/// Everything that was emitted in one call.
#[derive(Debug, Default)]
pub struct Collected {
    pub bytes: Vec<u8>,
    pub rows: Vec<OutputRow>,
    /// Name and value.
    pub headers: Vec<(FieldAt, FieldAt)>,
    pub groups: Vec<Group>,
}

impl Collected {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
        self.headers.clear();
        self.groups.clear();
    }
}

/// Why a frame was not taken.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("effect row {row} opens event {event}, after event {last} was opened")]
    NotAscending { row: u32, event: u32, last: u32 },
    #[error("effect row {row} belongs to no open event")]
    NoOpenEvent { row: u32 },
    #[error("effect row {row} fails event {event}, which is not the open one")]
    NotTheOpenEvent { row: u32, event: u32 },
    #[error("effect row {row} goes to output {target}, of {outputs}")]
    NoSuchOutput { row: u32, target: u16, outputs: u16 },
    #[error("more than the limit was emitted")]
    TooMuch,
}

/// Collects the frames of one call.
#[derive(Debug, Default)]
pub struct Collector {
    pub collected: Collected,
    extent: Option<EventsExtent>,
    /// Bytes of each header list of the call's events frame are looked up here: prefix sums over its header rows.
    event_header_bytes: Vec<u64>,
    outputs: u16,
    output_bytes: u64,
    output_bytes_max: u64,
    event_open: bool,
}

impl Collector {
    /// Starts a call on an events frame.
    pub fn begin(
        &mut self,
        events: &millstream_frames::EventsFrame,
        outputs: u16,
        output_bytes_max: usize,
    ) {
        self.collected.clear();
        self.extent = Some(EventsExtent {
            frame_size: events.bytes().len(),
            events: events.event_count(),
            headers: events.header_count(),
        });
        self.event_header_bytes.clear();
        if events.header_count() > 0 {
            let all = events.view().header_range(0, events.header_count() as i32);
            let mut sum = 0;
            self.event_header_bytes.push(sum);
            for header in all.iter().flat_map(|headers| headers.iter()) {
                let header = header.expect("what the builder wrote can be read");
                sum += (header.name.len() + header.value.map_or(0, <[u8]>::len)) as u64;
                self.event_header_bytes.push(sum);
            }
        }
        self.outputs = outputs;
        self.output_bytes = 0;
        self.output_bytes_max = output_bytes_max as u64;
        self.event_open = false;
    }

    /// Ends the call and gives what was collected.
    pub fn finish(&mut self) -> Collected {
        self.extent = None;
        self.event_open = false;
        std::mem::take(&mut self.collected)
    }

    /// Takes in one effects frame. After an error the call is lost.
    pub fn take(&mut self, frame: &[u8]) -> Result<(), Refused> {
        let extent = self.extent.ok_or(Refused::NoOpenEvent { row: 0 })?;
        let reader = EffectsReader::parse(frame, extent)?;
        let base = self.collected.bytes.len();
        if frame.len() > COPIED_BYTES_MAX - base.min(COPIED_BYTES_MAX) {
            return Err(Refused::TooMuch);
        }
        let mut copy = Copied {
            base: base as u32,
            end: EFFECTS_HEADER_SIZE,
        };
        let first_header = self.take_headers(&reader, &mut copy)?;
        for row in 0..reader.effect_count() {
            match reader.effect(row)? {
                Effect::Begin { event } => self.open(row, event)?,
                Effect::Output {
                    target,
                    partition,
                    timestamp,
                    key,
                    value,
                    headers,
                } => {
                    if !self.event_open {
                        return Err(Refused::NoOpenEvent { row });
                    }
                    if target >= self.outputs {
                        return Err(Refused::NoSuchOutput {
                            row,
                            target,
                            outputs: self.outputs,
                        });
                    }
                    let header_bytes = self.header_bytes(headers, first_header);
                    let fields = u64::from(key.len()) + u64::from(value.len());
                    self.count(fields + header_bytes + OUTPUT_ROW_BYTES as u64)?;
                    self.collected.rows.push(OutputRow {
                        target,
                        partition: partition.unwrap_or(PARTITION_BY_KEY),
                        timestamp: timestamp.unwrap_or(TIMESTAMP_OF_EVENT),
                        key: copy.place(key),
                        value: copy.place(value),
                        headers: rebase(headers, first_header),
                    });
                    if let Some(group) = self.collected.groups.last_mut() {
                        group.rows += 1;
                    }
                }
                Effect::Fail {
                    event,
                    code,
                    message,
                } => self.fail(row, event, code, message)?,
            }
        }
        self.collected.bytes.extend_from_slice(&frame[..copy.end]);
        Ok(())
    }

    /// Keeps the frame's header rows; returns the index of the first.
    fn take_headers(
        &mut self,
        reader: &EffectsReader<'_>,
        copy: &mut Copied,
    ) -> Result<u32, Refused> {
        let first = self.collected.headers.len();
        if first + reader.header_count() as usize > u32::MAX as usize {
            return Err(Refused::TooMuch);
        }
        for row in 0..reader.header_count() {
            let (name, value) = reader.header(row)?;
            self.collected
                .headers
                .push((copy.place(name), copy.place(value)));
        }
        Ok(first as u32)
    }

    fn header_bytes(&self, headers: HeadersAt, first_header: u32) -> u64 {
        match headers {
            HeadersAt::Effects { count: 0, .. } | HeadersAt::Events { count: 0, .. } => 0,
            HeadersAt::Effects { first, count } => {
                let first = (first_header + first) as usize;
                let rows = &self.collected.headers[first..first + count as usize];
                rows.iter()
                    .map(|(name, value)| 16 + u64::from(name.len()) + u64::from(value.len()))
                    .sum()
            }
            HeadersAt::Events { first, count } => {
                let (first, end) = (first as usize, first as usize + count as usize);
                self.event_header_bytes[end] - self.event_header_bytes[first]
                    + 16 * u64::from(count)
            }
        }
    }

    /// Counts before anything is kept: an output may name the same bytes as another, so that a small frame can stand
    /// for a large amount of output.
    fn count(&mut self, bytes: u64) -> Result<(), Refused> {
        self.output_bytes = self.output_bytes.saturating_add(bytes);
        if self.output_bytes > self.output_bytes_max {
            return Err(Refused::TooMuch);
        }
        Ok(())
    }

    fn open(&mut self, row: u32, event: u32) -> Result<(), Refused> {
        if let Some(last) = self.collected.groups.last()
            && event <= last.event
        {
            return Err(Refused::NotAscending {
                row,
                event,
                last: last.event,
            });
        }
        let first_row = self.collected.rows.len() as u32;
        self.collected.groups.push(Group {
            event,
            first_row,
            rows: 0,
            refused: None,
        });
        self.event_open = true;
        Ok(())
    }

    fn fail(&mut self, row: u32, event: u32, code: u32, message: &str) -> Result<(), Refused> {
        let message = cut(message, REFUSAL_BYTES_MAX);
        self.count(message.len() as u64)?;
        match self.collected.groups.last_mut() {
            Some(group) if self.event_open && group.event == event => {
                self.collected.rows.truncate(group.first_row as usize);
                group.rows = 0;
                group.refused = Some((code, message.to_owned()));
                self.event_open = false;
                Ok(())
            }
            _ => Err(Refused::NotTheOpenEvent { row, event }),
        }
    }
}

/// Where the frame's fields go, and how far into the frame they reach.
struct Copied {
    base: u32,
    end: usize,
}

impl Copied {
    #[inline(always)]
    fn place(&mut self, field: FieldAt) -> FieldAt {
        match field {
            FieldAt::Effects { position, length } => {
                self.end = self.end.max(position as usize + length as usize);
                FieldAt::Effects {
                    position: position + self.base,
                    length,
                }
            }
            other => other,
        }
    }
}

fn rebase(headers: HeadersAt, first_header: u32) -> HeadersAt {
    match headers {
        HeadersAt::Effects { first, count } => HeadersAt::Effects {
            first: first + first_header,
            count,
        },
        events => events,
    }
}

/// Adds the interface's function.
pub(crate) fn link(instance: &mut LinkerInstance<'_, GuestState>) -> wasmtime::Result<()> {
    instance.func_wrap(
        "emit",
        |mut caller: StoreContextMut<'_, GuestState>, (frame,): (WasmList<u8>,)| {
            let state = caller.data_mut();
            state.check_imports_allowed("effects.emit")?;
            if state.phase != Phase::Process {
                let reason = "it emits outside of process".to_owned();
                return Err(state.refuse(PluginFailure::Malformed { reason }));
            }
            // The frame is borrowed from the store, so the collector leaves the store while it reads.
            let mut collector = std::mem::take(&mut state.collector);
            let outcome = collector.take(frame.as_le_slice(&caller));
            let state = caller.data_mut();
            state.collector = collector;
            outcome.map_err(|refused| {
                let limit = state.limits.output_bytes_max;
                state.refuse(match refused {
                    Refused::TooMuch => PluginFailure::OutputLimit { limit },
                    malformed => PluginFailure::Malformed {
                        reason: malformed.to_string(),
                    },
                })
            })
        },
    )
}

#[cfg(test)]
mod tests;
