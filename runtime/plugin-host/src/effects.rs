//! What one call did, event by event, without an allocation per record.

use std::sync::Arc;

use millstream_frames::layout::{PARTITION_BY_KEY, TIMESTAMP_OF_EVENT};
use millstream_frames::{EventsFrame, EventsView, FieldAt, HeadersAt};
use parking_lot::Mutex;

use crate::collector::{Collected, Collector, OutputRow};
use crate::failure::PluginFailure;

/// Buffers that go round between an instance and its effects.
pub(crate) type Buffers = Arc<Mutex<Vec<Collected>>>;
/// More than this many sets of buffers are not kept.
const BUFFERS_MAX: usize = 4;
/// Buffers that grew beyond this are given back to the system.
const BUFFER_BYTES_KEPT_MAX: usize = 16 * 1024 * 1024;

/// The effects of one call. Borrows the call's events frame, because forwarded fields stand there.
#[derive(Debug)]
pub struct Effects<'f> {
    events: EventsView<'f>,
    consumed: u32,
    collected: Collected,
    home: Buffers,
}

/// What became of one consumed event.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'e> {
    /// Index of the event in the frame.
    pub event: u32,
    pub kind: OutcomeKind<'e>,
}

#[derive(Debug, Clone, Copy)]
pub enum OutcomeKind<'e> {
    /// Its outputs, perhaps none, in the order in which they were emitted.
    Emitted(Outputs<'e>),
    /// The plugin refused it; it has no outputs.
    Refused { code: u32, message: &'e str },
}

/// Outputs of one event.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'e> {
    parts: Parts<'e>,
    rows: &'e [OutputRow],
}

/// One output record.
#[derive(Debug, Clone, Copy)]
pub struct Output<'e> {
    /// Index in the open context's outputs.
    pub output: u16,
    /// `None`: by the key.
    pub partition: Option<i32>,
    /// Milliseconds; `None`: the event's own.
    pub timestamp: Option<i64>,
    pub key: Option<&'e [u8]>,
    pub value: Option<&'e [u8]>,
    pub headers: OutputHeaders<'e>,
}

/// Headers of an output.
#[derive(Debug, Clone, Copy)]
pub struct OutputHeaders<'e> {
    parts: Parts<'e>,
    at: HeadersAt,
}

/// The places where fields stand.
#[derive(Debug, Clone, Copy)]
struct Parts<'e> {
    events: EventsView<'e>,
    bytes: &'e [u8],
    headers: &'e [(FieldAt, FieldAt)],
}

impl<'e> Parts<'e> {
    /// Positions were checked when the frame was taken in.
    #[inline(always)]
    fn field(&self, at: FieldAt) -> Option<&'e [u8]> {
        match at {
            FieldAt::Null => None,
            FieldAt::Effects { position, length } => {
                Some(&self.bytes[position as usize..position as usize + length as usize])
            }
            FieldAt::Events { position, length } => {
                Some(&self.events.bytes()[position as usize..position as usize + length as usize])
            }
        }
    }
}

impl<'f> Effects<'f> {
    pub(crate) fn new(
        events: EventsView<'f>,
        consumed: u32,
        collected: Collected,
        home: Buffers,
    ) -> Self {
        Self {
            events,
            consumed,
            collected,
            home,
        }
    }

    /// The effects that a processor outside the sandbox (a test's) wrote as effects frames of one call, checked as a
    /// guest's are.
    pub fn from_frames(
        events: &'f EventsFrame,
        consumed: u32,
        outputs: u16,
        frames: &[&[u8]],
    ) -> Result<Self, PluginFailure> {
        let malformed = |reason: String| PluginFailure::Malformed { reason };
        if consumed > events.event_count() {
            return Err(malformed(format!(
                "{consumed} events consumed, of {}",
                events.event_count()
            )));
        }
        let mut collector = Collector::default();
        collector.begin(events, outputs, usize::MAX);
        for frame in frames {
            collector
                .take(frame)
                .map_err(|refused| malformed(refused.to_string()))?;
        }
        let collected = collector.finish();
        Ok(Self::new(
            events.view(),
            consumed,
            collected,
            Buffers::default(),
        ))
    }

    /// One outcome for each consumed event, in order.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome<'_>> {
        let parts = Parts {
            events: self.events,
            bytes: &self.collected.bytes,
            headers: &self.collected.headers,
        };
        let mut groups = self.collected.groups.iter().peekable();
        (0..self.consumed).map(move |event| {
            let kind = match groups.next_if(|group| group.event == event) {
                None => OutcomeKind::Emitted(Outputs { parts, rows: &[] }),
                Some(group) => match &group.refused {
                    Some((code, message)) => OutcomeKind::Refused {
                        code: *code,
                        message,
                    },
                    None => {
                        let first = group.first_row as usize;
                        let rows = &self.collected.rows[first..first + group.rows as usize];
                        OutcomeKind::Emitted(Outputs { parts, rows })
                    }
                },
            };
            Outcome { event, kind }
        })
    }

    /// The events that the effects belong to.
    pub fn events(&self) -> EventsView<'f> {
        self.events
    }

    /// Events that were consumed.
    pub fn consumed(&self) -> u32 {
        self.consumed
    }

    /// Outputs of all events together.
    pub fn output_count(&self) -> usize {
        self.collected.rows.len()
    }
}

impl Drop for Effects<'_> {
    fn drop(&mut self) {
        let collected = std::mem::take(&mut self.collected);
        let mut home = self.home.lock();
        if home.len() < BUFFERS_MAX && collected.bytes.capacity() <= BUFFER_BYTES_KEPT_MAX {
            home.push(collected);
        }
    }
}

impl Outputs<'_> {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl<'e> Iterator for Outputs<'e> {
    type Item = Output<'e>;

    #[inline]
    fn next(&mut self) -> Option<Output<'e>> {
        let (row, rest) = self.rows.split_first()?;
        self.rows = rest;
        Some(Output {
            output: row.target,
            partition: (row.partition != PARTITION_BY_KEY).then_some(row.partition),
            timestamp: (row.timestamp != TIMESTAMP_OF_EVENT).then_some(row.timestamp),
            key: self.parts.field(row.key),
            value: self.parts.field(row.value),
            headers: OutputHeaders {
                parts: self.parts,
                at: row.headers,
            },
        })
    }
}

impl<'e> OutputHeaders<'e> {
    pub fn len(&self) -> usize {
        match self.at {
            HeadersAt::Effects { count, .. } | HeadersAt::Events { count, .. } => count as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name and value of header `index`, which must exist.
    fn header(&self, index: usize) -> (&'e [u8], Option<&'e [u8]>) {
        match self.at {
            HeadersAt::Effects { first, .. } => {
                let (name, value) = self.parts.headers[first as usize + index];
                (
                    self.parts.field(name).unwrap_or_default(),
                    self.parts.field(value),
                )
            }
            HeadersAt::Events { first, .. } => {
                let row = self.parts.events.header_range(first + index as u32, 1);
                let header = row.and_then(|row| row.iter().next()).and_then(Result::ok);
                let header = header.expect("the host's own frame has the rows that were checked");
                (header.name, header.value)
            }
        }
    }

    /// Names and values, in order; can be walked again from a clone.
    pub fn iter(
        &self,
    ) -> impl ExactSizeIterator<Item = (&'e [u8], Option<&'e [u8]>)> + Clone + use<'e> {
        let this = *self;
        (0..this.len()).map(move |index| this.header(index))
    }
}
