//! Runs a plugin natively, in `cargo test`, through the very frames that the host uses.
//!
//! ```
//! use millstream_sdk::prelude::*;
//! use millstream_sdk::testing::{Harness, Input};
//!
//! #[millstream::processor(outputs = ["words"])]
//! fn split(record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject> {
//!     for word in record.text()?.split(' ') {
//!         ctx.emit("words", word, word);
//!     }
//!     Ok(())
//! }
//!
//! let mut harness = Harness::<Plugin>::open(serde_json::json!(null)).unwrap();
//! let outputs = harness.process_one(Input::new("key", "two words")).unwrap();
//! assert_eq!(outputs.len(), 2);
//! assert_eq!(outputs[0].value_text(), "two");
//! ```

pub(crate) mod sink;

use millstream_frames::{
    Effect, EffectsReader, EventsBuilder, EventsExtent, EventsFrame, EventsOptions, EventsView,
    FieldAt, HeadersAt, RunOptions, seed,
};
use serde_json::json;

use crate::guest::Slot;
use crate::{ConfigError, Describe, Field};

/// An input record of a test. Offsets count up by themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub timestamp: i64,
}

impl Input {
    pub fn new(key: impl Field, value: impl Field) -> Self {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Self {
            key: owned(key.bytes()),
            value: owned(value.bytes()),
            ..Self::default()
        }
    }

    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl Field) -> Self {
        self.headers
            .push((name.as_ref().to_vec(), value.bytes().map(<[u8]>::to_vec)));
        self
    }

    pub fn timestamp(mut self, milliseconds: i64) -> Self {
        self.timestamp = milliseconds;
        self
    }
}

/// A record that the plugin emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// Name of the output.
    pub output: String,
    /// `None`: by the key.
    pub partition: Option<i32>,
    /// The input's, unless the plugin gave another.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Emission {
    /// The value as text; panics when it is null or not UTF-8.
    pub fn value_text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().expect("the value is null"))
            .expect("the value is not UTF-8")
    }

    /// The key as text; panics when it is null or not UTF-8.
    pub fn key_text(&self) -> &str {
        std::str::from_utf8(self.key.as_deref().expect("the key is null"))
            .expect("the key is not UTF-8")
    }
}

/// A refused record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: u32,
    pub message: String,
}

/// An opened plugin.
pub struct Harness<P> {
    slot: Slot<P>,
    outputs: Vec<String>,
    next_offset: u64,
}

impl<P: Describe> Harness<P> {
    /// Opens the plugin with this config, all its outputs bound.
    pub fn open(config: serde_json::Value) -> Result<Self, ConfigError> {
        let inputs: Vec<_> = P::INPUTS
            .iter()
            .map(|name| json!({ "name": name, "topic": name }))
            .collect();
        let context = json!({
            "pipeline": "test", "stage": P::NAME, "partition": 0, "inputs": inputs, "outputs": P::OUTPUTS,
            "config": config,
        });
        let slot = Slot::new();
        slot.open(&context.to_string())
            .map_err(|issues| ConfigError {
                issues: issues
                    .into_iter()
                    .map(|issue| (issue.path, issue.message))
                    .collect(),
            })?;
        let outputs = P::OUTPUTS.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self {
            slot,
            outputs,
            next_offset: 0,
        })
    }

    /// Gives one record; what it emitted, or why it was refused.
    pub fn process_one(&mut self, input: Input) -> Result<Vec<Emission>, Refusal> {
        self.process(&[input])
            .pop()
            .expect("one record has one outcome")
    }

    /// Gives records in one call, as the host does; one outcome for each.
    pub fn process(&mut self, inputs: &[Input]) -> Vec<Result<Vec<Emission>, Refusal>> {
        let frame = self.frame(inputs);
        let frames = sink::collect_frames(|| {
            let consumed = self
                .slot
                .process(frame.bytes())
                .unwrap_or_else(|error| panic!("{}", error.message));
            assert_eq!(
                consumed as usize,
                inputs.len(),
                "the plugin left events over"
            );
        });
        let mut outcomes: Vec<_> = inputs.iter().map(|_| Ok(Vec::new())).collect();
        for effects in frames {
            self.read(&effects, &frame, inputs, &mut outcomes);
        }
        outcomes
    }

    /// The log lines that were written since the last look.
    pub fn logs(&mut self) -> Vec<String> {
        sink::take_logs()
    }

    fn frame(&mut self, inputs: &[Input]) -> EventsFrame {
        let mut builder = EventsBuilder::new(EventsOptions {
            seed_base: seed::stage_seed("test", P::NAME),
            ..EventsOptions::default()
        });
        builder.run(RunOptions {
            seed: seed::run_seed(P::INPUTS[0], 0),
            ..RunOptions::default()
        });
        for input in inputs {
            let headers = input
                .headers
                .iter()
                .map(|(name, value)| (name.as_slice(), value.as_deref()));
            let (key, value) = (input.key.as_deref(), input.value.as_deref());
            let fits = builder.record(
                self.next_offset,
                input.timestamp,
                false,
                key,
                value,
                headers,
            );
            assert!(fits, "the records of a test call are too large");
            self.next_offset += 1;
        }
        builder.finish()
    }

    fn read(
        &self,
        effects: &[u8],
        frame: &EventsFrame,
        inputs: &[Input],
        outcomes: &mut [Result<Vec<Emission>, Refusal>],
    ) {
        let events = frame.view();
        let extent = EventsExtent {
            frame_size: frame.bytes().len(),
            events: frame.event_count(),
            headers: frame.header_count(),
        };
        let reader = EffectsReader::parse(effects, extent).expect("the effects frame is sound");
        let mut open = 0;
        for row in 0..reader.effect_count() {
            match reader.effect(row).expect("the effect is sound") {
                Effect::Begin { event } => open = event as usize,
                Effect::Fail {
                    event,
                    code,
                    message,
                } => {
                    outcomes[event as usize] = Err(Refusal {
                        code,
                        message: message.to_owned(),
                    });
                }
                Effect::Output {
                    target,
                    partition,
                    timestamp,
                    key,
                    value,
                    headers,
                } => {
                    let field = |at| owned(at, effects, frame.bytes());
                    let emission = Emission {
                        output: self.outputs[usize::from(target)].clone(),
                        partition,
                        timestamp: timestamp.unwrap_or(inputs[open].timestamp),
                        key: field(key),
                        value: field(value),
                        headers: owned_headers(&reader, headers, effects, &events),
                    };
                    if let Ok(emissions) = &mut outcomes[open] {
                        emissions.push(emission);
                    }
                }
            }
        }
    }
}

fn owned(at: FieldAt, effects: &[u8], events: &[u8]) -> Option<Vec<u8>> {
    match at {
        FieldAt::Null => None,
        FieldAt::Effects { position, length } => {
            Some(effects[position as usize..][..length as usize].to_vec())
        }
        FieldAt::Events { position, length } => {
            Some(events[position as usize..][..length as usize].to_vec())
        }
    }
}

fn owned_headers(
    reader: &EffectsReader<'_>,
    at: HeadersAt,
    effects: &[u8],
    events: &EventsView<'_>,
) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    match at {
        HeadersAt::Effects { first, count } => (first..first + count)
            .map(|row| {
                let (name, value) = reader.header(row).expect("the header is sound");
                let field = |at| owned(at, effects, events.bytes());
                (field(name).unwrap_or_default(), field(value))
            })
            .collect(),
        HeadersAt::Events { first, count } => {
            let headers = events
                .header_range(first, count as i32)
                .expect("the rows exist");
            let read = |header: Result<millstream_frames::Header<'_>, _>| {
                let header = header.expect("the header is sound");
                (header.name.to_vec(), header.value.map(<[u8]>::to_vec))
            };
            headers.iter().map(read).collect()
        }
    }
}
