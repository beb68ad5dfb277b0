//! The three ways: all fixtures in one call, one record a call, and a fresh instance for each record. A plugin that
//! holds an effect back, or lets memory decide, gives different outcomes; in production it would lose or repeat them.

use std::fmt;
use std::sync::Arc;

use millstream_plugin_host::frames::{EventsBuilder, EventsFrame, EventsOptions, RunOptions, seed};
use millstream_plugin_host::{
    Diagnostics, InputBinding, Instance, InstantiateError, Limits, OpenContext, Plugin,
    ProcessError,
};

use crate::diff::of_texts;
use crate::{Fixture, RecordOutcome};

/// How a plugin is tested.
#[derive(Debug, Clone, Default)]
pub struct TestOptions {
    /// The stage's config; null when there is none.
    pub config: serde_json::Value,
    pub limits: Limits,
}

/// One of the three ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    OneCall,
    OneRecordACall,
    FreshInstanceForEachRecord,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneCall => "all records in one call",
            Self::OneRecordACall => "one record a call",
            Self::FreshInstanceForEachRecord => "a fresh instance for each record",
        })
    }
}

/// Why a plugin did not pass.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    #[error("the plugin cannot be opened: {0}")]
    Open(#[from] InstantiateError),
    #[error("the plugin failed on records {first} to {last} ({mode}): {source}")]
    Process {
        first: usize,
        last: usize,
        mode: Mode,
        source: ProcessError,
    },
    #[error("the fixtures are too large for one call: {records} records")]
    TooLarge { records: usize },
    #[error(
        "record {record} has another outcome with {mode} than with all records in one call, so the plugin keeps \
         something between records that it must not. With `-` in one call, with `+` otherwise:\n{}",
        of_texts(in_one_call, otherwise)
    )]
    Differs {
        record: usize,
        mode: Mode,
        /// The outcomes as JSON, over several lines.
        in_one_call: String,
        otherwise: String,
    },
}

/// Runs `plugin` in all three ways; the outcome of each fixture when they agree. Records are counted from 1.
pub async fn run(
    plugin: &Plugin,
    fixtures: &[Fixture],
    options: &TestOptions,
    diagnostics: Arc<dyn Diagnostics>,
) -> Result<Vec<RecordOutcome>, TestError> {
    let context = context(plugin, options);
    let mut outcomes: Option<Vec<RecordOutcome>> = None;
    for mode in [
        Mode::OneCall,
        Mode::OneRecordACall,
        Mode::FreshInstanceForEachRecord,
    ] {
        let instance = plugin
            .instantiate(&context, options.limits, Arc::clone(&diagnostics))
            .await?;
        let found = run_mode(instance, fixtures, &context, mode).await?;
        match &outcomes {
            None => outcomes = Some(found),
            Some(expected) => compare(expected, &found, mode)?,
        }
    }
    Ok(outcomes.unwrap_or_default())
}

fn context(plugin: &Plugin, options: &TestOptions) -> OpenContext {
    let descriptor = plugin.descriptor();
    let inputs = descriptor.inputs.iter();
    OpenContext {
        pipeline: "test".to_owned(),
        stage: descriptor.name.clone(),
        partition: 0,
        inputs: inputs
            .map(|name| InputBinding {
                name: name.clone(),
                topic: name.clone(),
            })
            .collect(),
        outputs: descriptor.outputs.clone(),
        config: options.config.clone(),
    }
}

async fn run_mode(
    mut instance: Instance,
    fixtures: &[Fixture],
    context: &OpenContext,
    mode: Mode,
) -> Result<Vec<RecordOutcome>, TestError> {
    let mut outcomes = Vec::with_capacity(fixtures.len());
    while outcomes.len() < fixtures.len() {
        let first = outcomes.len();
        let count = if mode == Mode::OneCall {
            fixtures.len() - first
        } else {
            1
        };
        if mode == Mode::FreshInstanceForEachRecord {
            instance.reset();
        }
        let frame = frame(&fixtures[first..first + count], first, context)?;
        let processed = instance
            .process(&frame)
            .await
            .map_err(|source| TestError::Process {
                first: first + 1,
                last: first + count,
                mode,
                source,
            })?;
        outcomes.extend(
            processed
                .effects
                .outcomes()
                .map(|outcome| RecordOutcome::of(&outcome, &context.outputs)),
        );
    }
    Ok(outcomes)
}

fn frame(
    fixtures: &[Fixture],
    first: usize,
    context: &OpenContext,
) -> Result<EventsFrame, TestError> {
    let seed_base = seed::stage_seed(&context.pipeline, &context.stage);
    let mut builder = EventsBuilder::new(EventsOptions {
        seed_base,
        ..EventsOptions::default()
    });
    builder.run(RunOptions {
        seed: seed::run_seed("in", 0),
        ..RunOptions::default()
    });
    for (index, fixture) in fixtures.iter().enumerate() {
        let headers = fixture
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()));
        let (key, value) = (fixture.key.as_deref(), fixture.value.as_deref());
        if !builder.record(
            (first + index) as u64,
            fixture.timestamp,
            false,
            key,
            value,
            headers,
        ) {
            return Err(TestError::TooLarge {
                records: fixtures.len(),
            });
        }
    }
    Ok(builder.finish())
}

fn compare(
    expected: &[RecordOutcome],
    found: &[RecordOutcome],
    mode: Mode,
) -> Result<(), TestError> {
    match expected
        .iter()
        .zip(found)
        .position(|(expected, found)| expected != found)
    {
        None => Ok(()),
        Some(index) => Err(TestError::Differs {
            record: index + 1,
            mode,
            in_one_call: format!("{:#}", expected[index].to_json()),
            otherwise: format!("{:#}", found[index].to_json()),
        }),
    }
}
