//! What a stage task runs on its events: a plugin in its sandbox, or in tests a plain function.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millstream_plugin_host::frames::EventsFrame;
use millstream_plugin_host::{
    Diagnostics, Effects, Instance, InstantiateError, Limits, LogLevel, OpenContext, Plugin,
    ProcessError,
};

use crate::plugin_metrics::{PluginMetrics, TaskMetrics};

/// Works for one stage and partition.
pub trait Processor: Send + 'static {
    /// Works on a frame of at least one event. After an error nothing of the call is kept, and the
    /// next call starts with empty memory.
    fn process<'f>(
        &mut self,
        events: &'f EventsFrame,
    ) -> impl Future<Output = Result<Effects<'f>, ProcessError>> + Send;

    /// The event that was marked last in the newest call, for frames that ask for marks.
    fn last_mark(&self) -> Option<u32>;

    /// CPU that the newest call used, if it succeeded.
    fn last_call_cpu(&self) -> Duration;
}

/// Makes processors, one for each task and each start of it.
pub trait ProcessorFactory: Send + Sync + 'static {
    type Processor: Processor;

    fn open(
        &self,
        context: &OpenContext,
        limits: Limits,
    ) -> impl Future<Output = Result<Self::Processor, InstantiateError>> + Send;
}

impl Processor for Instance {
    async fn process<'f>(&mut self, events: &'f EventsFrame) -> Result<Effects<'f>, ProcessError> {
        Ok(Instance::process(self, events).await?.effects)
    }

    fn last_mark(&self) -> Option<u32> {
        Instance::last_mark(self)
    }

    fn last_call_cpu(&self) -> Duration {
        Instance::last_call_cpu(self)
    }
}

/// A plugin in its sandbox, whose counters and gauges are kept for whoever shows them.
pub struct MeteredPlugin {
    plugin: Plugin,
    metrics: Arc<PluginMetrics>,
}

impl MeteredPlugin {
    pub fn new(plugin: Plugin, metrics: &Arc<PluginMetrics>) -> MeteredPlugin {
        MeteredPlugin {
            plugin,
            metrics: Arc::clone(metrics),
        }
    }
}

impl ProcessorFactory for MeteredPlugin {
    type Processor = Instance;

    async fn open(
        &self,
        context: &OpenContext,
        limits: Limits,
    ) -> Result<Instance, InstantiateError> {
        let diagnostics = PluginLog {
            pipeline: context.pipeline.clone(),
            stage: context.stage.clone(),
            partition: context.partition,
            metrics: self
                .metrics
                .task(&context.pipeline, &context.stage, context.partition),
        };
        self.plugin
            .instantiate(context, limits, Arc::new(diagnostics))
            .await
    }
}

/// A plugin's log lines go to the host's log, under the target `plugin`, and its metrics to its task's.
struct PluginLog {
    pipeline: String,
    stage: String,
    partition: i32,
    metrics: Arc<TaskMetrics>,
}

impl Diagnostics for PluginLog {
    fn log(&self, level: LogLevel, message: &str, fields: &[(&str, &str)]) {
        let mut text = message.to_owned();
        for (name, value) in fields {
            text.push_str(&format!(" {name}={value}"));
        }
        let Self {
            pipeline,
            stage,
            partition,
            ..
        } = self;
        match level {
            LogLevel::Error => {
                tracing::error!(target: "plugin", pipeline, stage, partition, "{text}")
            }
            LogLevel::Warn => {
                tracing::warn!(target: "plugin", pipeline, stage, partition, "{text}")
            }
            LogLevel::Info => {
                tracing::info!(target: "plugin", pipeline, stage, partition, "{text}")
            }
            LogLevel::Debug => {
                tracing::debug!(target: "plugin", pipeline, stage, partition, "{text}")
            }
            LogLevel::Trace => {
                tracing::trace!(target: "plugin", pipeline, stage, partition, "{text}")
            }
        }
    }

    fn count(&self, metric: &str, delta: u64) {
        self.metrics.count(metric, delta);
    }

    fn gauge(&self, metric: &str, value: f64) {
        self.metrics.gauge(metric, value);
    }

    fn log_lines_dropped(&self, lines: u32) {
        tracing::warn!(
            target: "plugin",
            pipeline = self.pipeline,
            stage = self.stage,
            partition = self.partition,
            "{lines} log lines of one call were too many and were dropped"
        );
    }
}
