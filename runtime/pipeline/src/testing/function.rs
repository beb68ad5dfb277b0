//! Plugins as plain functions, in the process.

use std::sync::Arc;
use std::time::Duration;

use millstream_plugin_host::frames::{EffectsWriter, Event, EventsFrame, EventsView, FieldAt};
use millstream_plugin_host::{
    Effects, InstantiateError, Limits, OpenContext, PluginFailure, ProcessError,
};

use crate::processor::{Processor, ProcessorFactory};

/// What a function does with one event.
pub type Function = dyn Fn(&Event<'_>, &mut Call<'_>) -> Result<(), PluginFailure> + Send + Sync;

/// A plugin that calls a function for each event.
#[derive(Clone)]
pub struct FunctionPlugin {
    outputs: u16,
    consume_max: u32,
    function: Arc<Function>,
}

/// One instance of a [`FunctionPlugin`].
pub struct FunctionProcessor {
    plugin: FunctionPlugin,
    last_mark: Option<u32>,
}

/// Emits for the event that is being worked on.
pub struct Call<'w> {
    writer: &'w mut EffectsWriter,
    event: u32,
}

impl Call<'_> {
    /// Emits a record; its timestamp is the event's, its partition by its key.
    pub fn emit(&mut self, output: u16, key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
        let key = field(self.writer, key);
        let value = field(self.writer, value);
        self.writer.output(output, key, value)
    }

    /// Sends an emitted record to a partition.
    pub fn to_partition(&mut self, record: u32, partition: i32) {
        self.writer.set_partition(record, partition);
    }

    /// Gives an emitted record another timestamp.
    pub fn with_timestamp(&mut self, record: u32, timestamp: i64) {
        self.writer.set_timestamp(record, timestamp);
    }

    /// Adds a header to the newest record.
    pub fn with_header(&mut self, record: u32, name: &[u8], value: Option<&[u8]>) {
        self.writer.add_header(record, name, value);
    }

    /// Refuses the event.
    pub fn refuse(&mut self, code: u32, message: &str) {
        self.writer.fail(self.event, code, message);
    }
}

fn field(writer: &mut EffectsWriter, bytes: Option<&[u8]>) -> FieldAt {
    bytes.map_or(FieldAt::Null, |bytes| writer.field(bytes))
}

impl FunctionPlugin {
    pub fn new(
        outputs: u16,
        function: impl Fn(&Event<'_>, &mut Call<'_>) -> Result<(), PluginFailure>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        FunctionPlugin {
            outputs,
            consume_max: u32::MAX,
            function: Arc::new(function),
        }
    }

    /// Consumes at most so many events a call.
    pub fn consuming(mut self, events: u32) -> Self {
        self.consume_max = events;
        self
    }
}

impl ProcessorFactory for FunctionPlugin {
    type Processor = FunctionProcessor;

    async fn open(
        &self,
        _: &OpenContext,
        _: Limits,
    ) -> Result<FunctionProcessor, InstantiateError> {
        Ok(FunctionProcessor {
            plugin: self.clone(),
            last_mark: None,
        })
    }
}

impl Processor for FunctionProcessor {
    async fn process<'f>(&mut self, events: &'f EventsFrame) -> Result<Effects<'f>, ProcessError> {
        // As a guest on its fiber does.
        tokio::task::yield_now().await;
        let view: EventsView<'f> = events.view();
        let mut writer = EffectsWriter::new();
        let consumed = view.event_count().min(self.plugin.consume_max);
        for index in 0..consumed {
            self.last_mark = view.mark().then_some(index);
            let event = view.event(index).expect("the host's own frame can be read");
            writer.begin(index);
            let mut call = Call {
                writer: &mut writer,
                event: index,
            };
            (self.plugin.function)(&event, &mut call)?;
        }
        let frame = writer.finish();
        Ok(Effects::from_frames(
            events,
            consumed,
            self.plugin.outputs,
            &[frame],
        )?)
    }

    fn last_mark(&self) -> Option<u32> {
        self.last_mark
    }

    fn last_call_cpu(&self) -> Duration {
        Duration::ZERO
    }
}
