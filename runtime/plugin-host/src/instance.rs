//! An instance: one guest that works for one stage and partition. It is made anew, by itself, after anything went
//! wrong in it, and whenever its owner says so.

use std::sync::Arc;

use millstream_frames::{CODE_UNAVAILABLE, EventsFrame};
use wasmtime::component::InstancePre;
use wasmtime::{AsContextMut, Store, Trap, UpdateDeadline, WasmBacktrace};

use crate::bindings::{Processor, ProcessorExports};
use crate::context::OpenContext;
use crate::diagnostics::Diagnostics;
use crate::effects::{Buffers, Effects};
use crate::engine::Engine;
use crate::failure::{
    ConfigIssue, HostFailure, InstantiateError, LoadError, PluginFailure, ProcessError,
};
use crate::guest_state::{GuestState, Phase};
use crate::limits::{Limits, MESSAGE_BYTES_MAX, cut};
use crate::meter::Meter;
use crate::plugin::Plugin;

/// What a successful call did.
#[derive(Debug)]
pub struct Processed<'f> {
    /// Events consumed, at least 1; the others have to be given again.
    pub consumed: u32,
    pub effects: Effects<'f>,
}

/// A guest with its settings. Memory is a cache: drop the guest (`reset`) after an aborted transaction or a rewind.
pub struct Instance {
    plugin: Plugin,
    context: Arc<str>,
    outputs: u16,
    limits: Limits,
    diagnostics: Arc<dyn Diagnostics>,
    /// Absent after a failure, and while a call runs: a call that is dropped half way takes the guest with it.
    live: Option<Live>,
    last_mark: Option<u32>,
    buffers: Buffers,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("plugin", &self.plugin)
            .field("live", &self.live.is_some())
            .finish()
    }
}

impl Instance {
    pub(crate) async fn open(
        plugin: Plugin,
        context: &OpenContext,
        limits: Limits,
        diagnostics: Arc<dyn Diagnostics>,
    ) -> Result<Self, InstantiateError> {
        let outputs = u16::try_from(context.outputs.len()).map_err(|_| HostFailure {
            doing: "opening a plugin",
            reason: format!(
                "{} outputs are more than an index can name",
                context.outputs.len()
            ),
        })?;
        let mut instance = Self {
            plugin,
            context: context.to_json().into(),
            outputs,
            limits,
            diagnostics,
            live: None,
            last_mark: None,
            buffers: Buffers::default(),
        };
        instance.live = Some(instance.make().await?);
        Ok(instance)
    }

    async fn make(&self) -> Result<Live, InstantiateError> {
        let shared = &self.plugin.shared;
        let state = GuestState::new(Phase::Open, self.limits, Arc::clone(&self.diagnostics));
        let mut live = Live::create(&shared.engine, &shared.pre, &shared.exports, state)
            .await
            .map_err(|error| match error {
                LoadError::Describe(failure) => InstantiateError::Plugin(failure),
                LoadError::Host(failure) => InstantiateError::Host(failure),
                other => InstantiateError::Host(HostFailure {
                    doing: "instantiating a plugin that was loaded before",
                    reason: other.to_string(),
                }),
            })?;
        live.open(&shared.engine, &self.context).await?;
        Ok(live)
    }

    /// Drops the guest; the next call makes a new one.
    pub fn reset(&mut self) {
        self.live = None;
    }

    /// True while there is a guest that the next call will use.
    pub fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// The event that the guest marked last in the newest call, for frames with the MARK flag.
    pub fn last_mark(&self) -> Option<u32> {
        self.last_mark
    }

    /// Bytes of memories and tables that the guest holds.
    pub fn memory_bytes(&self) -> usize {
        self.live
            .as_ref()
            .map_or(0, |live| live.store.data().memory.used())
    }

    /// CPU that the guest used in the newest call that succeeded.
    pub fn last_call_cpu(&self) -> std::time::Duration {
        self.live
            .as_ref()
            .map_or(std::time::Duration::ZERO, |live| {
                live.store.data().meter.used()
            })
    }

    /// Lets the guest work on a frame of at least one event. On error nothing is kept of the call, and the next call
    /// works with a new guest.
    pub async fn process<'f>(
        &mut self,
        events: &'f EventsFrame,
    ) -> Result<Processed<'f>, ProcessError> {
        let mut live = match self.live.take() {
            Some(live) => live,
            None => self.make().await?,
        };
        self.last_mark = None;
        let state = live.store.data_mut();
        if let Some(buffers) = self.buffers.lock().pop() {
            state.collector.collected = buffers;
        }
        state
            .collector
            .begin(events, self.outputs, self.limits.output_bytes_max);
        let outcome = live.process(&self.plugin.shared.engine, events).await;
        let state = live.store.data_mut();
        self.last_mark = state.diagnostics_state.last_mark;
        if state.diagnostics_state.dropped() > 0 {
            self.diagnostics
                .log_lines_dropped(state.diagnostics_state.dropped());
        }
        let consumed = outcome?;
        let collected = state.collector.finish();
        let effects = Effects::new(
            events.view(),
            consumed,
            collected,
            Arc::clone(&self.buffers),
        );
        self.live = Some(live);
        Ok(Processed { consumed, effects })
    }
}

/// A store with an instance in it.
pub(crate) struct Live {
    store: Store<GuestState>,
    processor: Processor,
}

impl Live {
    /// Instantiates the component, its start functions under the same limits as a call.
    pub async fn create(
        engine: &Engine,
        pre: &InstancePre<GuestState>,
        exports: &ProcessorExports,
        state: GuestState,
    ) -> Result<Self, LoadError> {
        let meter = Arc::clone(&state.meter);
        let fuel = state.limits.memory_bytes;
        let mut store = Store::new(&engine.shared.wasmtime, state);
        store.limiter(|state| &mut state.memory);
        // What a guest hands over in one call cannot be more than its memory; what the host copies is bounded by it.
        store.set_hostcall_fuel(fuel);
        store.epoch_deadline_callback(|mut context| {
            let state = context.data_mut();
            let (used, limit) = (state.meter.used_within_poll(), state.limits.call_cpu);
            if used > limit {
                return Err(state.refuse(PluginFailure::CpuLimit { used, limit }));
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store.set_epoch_deadline(1);
        let running = engine.shared.ticker.running();
        let instance = meter.run(pre.instantiate_async(&mut store)).await;
        drop(running);
        let instance = match instance {
            Ok(instance) => instance,
            Err(error) => return Err(failed_instantiation(&mut store, error)),
        };
        let processor = exports.of(&instance, &mut store)?;
        Ok(Self { store, processor })
    }

    pub async fn describe(&mut self, engine: &Engine) -> Result<String, LoadError> {
        let (meter, _running) = self.begin(engine, Phase::Describe);
        let mut context = self.store.as_context_mut();
        let function = self
            .processor
            .describe(&context)
            .map_err(host("describing a plugin"))
            .map_err(LoadError::Host)?;
        match meter.run(function.call_async(&mut context, ())).await {
            Ok((text,)) => Ok(text),
            Err(error) => Err(LoadError::Describe(failure_of(
                self.store.data_mut(),
                error,
            ))),
        }
    }

    async fn open(&mut self, engine: &Engine, document: &str) -> Result<(), InstantiateError> {
        let (meter, _running) = self.begin(engine, Phase::Open);
        let mut context = self.store.as_context_mut();
        let function = self
            .processor
            .open(&context)
            .map_err(host("opening a plugin"))?;
        match meter
            .run(function.call_async(&mut context, (document,)))
            .await
        {
            Ok((Ok(()),)) => Ok(()),
            Ok((Err(issues),)) => {
                let text = |text: &str| cut(text, MESSAGE_BYTES_MAX).to_owned();
                let issues = issues.iter().take(100);
                let issues = issues
                    .map(|issue| ConfigIssue {
                        path: text(&issue.path),
                        message: text(&issue.message),
                    })
                    .collect();
                Err(InstantiateError::Config { issues })
            }
            Err(error) => Err(failure_of(self.store.data_mut(), error).into()),
        }
    }

    async fn process(
        &mut self,
        engine: &Engine,
        events: &EventsFrame,
    ) -> Result<u32, ProcessError> {
        let (meter, _running) = self.begin(engine, Phase::Process);
        let mut context = self.store.as_context_mut();
        let function = self
            .processor
            .process(&context)
            .map_err(host("calling a plugin"))?;
        let outcome = meter
            .run(function.call_async(&mut context, (events.bytes(),)))
            .await;
        match outcome {
            Ok((Ok(consumed),)) => Ok(self.check_consumed(consumed, events.event_count())?),
            Ok((Err(error),)) => {
                let message = cut(&error.message, MESSAGE_BYTES_MAX).to_owned();
                Err(ProcessError::Plugin(match error.code {
                    CODE_UNAVAILABLE => PluginFailure::Unavailable { message },
                    code => PluginFailure::Fatal { code, message },
                }))
            }
            Err(error) => Err(failure_of(self.store.data_mut(), error).into()),
        }
    }

    /// A guest must consume something, not more than there was, and every event that it has effects for.
    fn check_consumed(&mut self, consumed: u32, given: u32) -> Result<u32, PluginFailure> {
        let malformed = |reason: String| Err(PluginFailure::Malformed { reason });
        if consumed == 0 || consumed > given {
            return malformed(format!(
                "it says that it consumed {consumed} of {given} events"
            ));
        }
        match self.store.data().collector.collected.groups.last() {
            Some(group) if group.event >= consumed => malformed(format!(
                "it emitted for event {} but consumed {consumed}",
                group.event
            )),
            _ => Ok(consumed),
        }
    }

    fn begin(&mut self, engine: &Engine, phase: Phase) -> (Arc<Meter>, crate::ticker::Running) {
        self.store.set_epoch_deadline(1);
        let state = self.store.data_mut();
        state.begin_call(phase);
        (Arc::clone(&state.meter), engine.shared.ticker.running())
    }
}

fn host(doing: &'static str) -> impl Fn(wasmtime::Error) -> HostFailure {
    move |error| HostFailure {
        doing,
        reason: format!("{error:#}"),
    }
}

/// Instantiation fails through the guest (its start function, its limits) or through us (no address space).
fn failed_instantiation(store: &mut Store<GuestState>, error: wasmtime::Error) -> LoadError {
    let state = store.data_mut();
    let by_guest = state.refusal.is_some() || state.memory.refused.is_some() || error.is::<Trap>();
    if by_guest {
        LoadError::Describe(failure_of(state, error))
    } else {
        LoadError::Host(host("instantiating a plugin")(error))
    }
}

/// Why a call ended: what a host function refused, then memory, then the trap itself.
fn failure_of(state: &mut GuestState, error: wasmtime::Error) -> PluginFailure {
    if let Some(refusal) = state.refusal.take() {
        return refusal;
    }
    if let Some(asked) = state.memory.refused.take() {
        return PluginFailure::MemoryLimit {
            asked,
            limit: state.limits.memory_bytes,
        };
    }
    let reason = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .map(backtrace_lines)
        .unwrap_or_default();
    PluginFailure::Trap {
        reason: cut(&reason, MESSAGE_BYTES_MAX).to_owned(),
        panic: state.diagnostics_state.panic.take(),
        backtrace,
    }
}

fn backtrace_lines(backtrace: &WasmBacktrace) -> Vec<String> {
    let line = |frame: &wasmtime::FrameInfo| {
        let symbol = frame.symbols().first();
        let name = symbol
            .and_then(|symbol| symbol.name())
            .or(frame.func_name())
            .unwrap_or("?");
        let name = cut(name, 256);
        match symbol.and_then(|symbol| Some((symbol.file()?, symbol.line()?))) {
            Some((file, line)) => format!("{name} ({file}:{line})"),
            None => name.to_owned(),
        }
    };
    backtrace.frames().iter().map(line).collect()
}
