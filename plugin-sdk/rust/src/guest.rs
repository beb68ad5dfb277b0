//! The contract's three functions, for the code that the attribute writes: describe, open, process.

use std::cell::RefCell;

use millstream_frames::{
    CODE_FATAL, EffectsWriter, EventKind, EventsView, FRAME_VERSION, FrameError, Run,
};
use serde_json::json;

pub use crate::bindings::exports::millstream::plugin::processor::{
    ConfigIssue, Error, Guest as Exports,
};
use crate::{Config, ConfigError, Context, Describe, Open, Processor, Record, diagnostics};

/// The plugin's descriptor.
pub fn describe<P: Describe>() -> String {
    diagnostics_hook();
    let mut descriptor = json!({
        "name": P::NAME,
        "version": P::VERSION,
        "frames": FRAME_VERSION,
        "inputs": P::INPUTS,
        "outputs": P::OUTPUTS,
        "sdk": concat!("rust ", env!("CARGO_PKG_VERSION")),
    });
    if let Some(schema) = P::Config::schema() {
        descriptor["config_schema"] = schema;
    }
    descriptor.to_string()
}

fn diagnostics_hook() {
    diagnostics::set_panic_hook();
}

/// Holds the plugin between calls.
pub struct Slot<P> {
    guest: RefCell<Option<Opened<P>>>,
}

struct Opened<P> {
    plugin: P,
    open: Open,
    writer: EffectsWriter,
}

impl<P> Default for Slot<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> Slot<P> {
    pub const fn new() -> Self {
        Self {
            guest: RefCell::new(None),
        }
    }
}

impl<P: Processor> Slot<P> {
    /// Reads the open context and opens the plugin.
    pub fn open(&self, context: &str) -> Result<(), Vec<ConfigIssue>> {
        diagnostics::set_panic_hook();
        let opened = open_plugin::<P>(context).map_err(|error| {
            let issue = |(path, message)| ConfigIssue { path, message };
            error.issues.into_iter().map(issue).collect::<Vec<_>>()
        })?;
        self.guest.replace(Some(opened));
        Ok(())
    }

    /// Works on one events frame: all of its events.
    pub fn process(&self, events: &[u8]) -> Result<u32, Error> {
        let fatal = |message: String| Error {
            code: CODE_FATAL,
            message,
        };
        let mut guest = self.guest.borrow_mut();
        let guest = guest
            .as_mut()
            .ok_or_else(|| fatal("process was called before open".to_owned()))?;
        guest
            .process(events)
            .map_err(|error| fatal(format!("the events frame cannot be read: {error}")))
    }
}

fn open_plugin<P: Processor>(context: &str) -> Result<Opened<P>, ConfigError> {
    let (open, config) = Open::parse(context)?;
    let config = match config {
        // Without a config, a plugin whose fields all have defaults still opens.
        serde_json::Value::Null => json!({}),
        config => config,
    };
    Ok(Opened {
        plugin: P::open(P::Config::read(config)?, &open)?,
        open,
        writer: EffectsWriter::new(),
    })
}

impl<P: Processor> Opened<P> {
    fn process(&mut self, events: &[u8]) -> Result<u32, FrameError> {
        let view = EventsView::parse(events)?;
        let mark = view.mark();
        self.writer.clear();
        let mut context = Context::new(&mut self.writer, &self.open, events);
        let mut run_index = None;
        let mut run = Run {
            input: 0,
            partition: 0,
            leader_epoch: 0,
            first_event: 0,
            count: 0,
            seed: 0,
        };
        for index in 0..view.event_count() {
            let event = view.event(index)?;
            if run_index != Some(event.run) {
                run = view.run(event.run)?;
                run_index = Some(event.run);
            }
            if mark {
                diagnostics::mark(index);
            }
            if event.kind != EventKind::Record {
                continue;
            }
            let record = Record {
                event,
                run: &run,
                open: &self.open,
                seed_base: view.seed_base(),
            };
            context.begin_event(index, &record);
            if let Err(reject) = self.plugin.process(record, &mut context) {
                context.fail(&reject);
            }
        }
        context.flush();
        Ok(view.event_count())
    }
}
