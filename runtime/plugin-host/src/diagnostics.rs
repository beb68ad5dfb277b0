//! The capability `diagnostics`: log lines, metrics and marks.

use std::collections::HashSet;
use std::fmt;

use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, WasmList, WasmStr};

use crate::failure::Panic;
use crate::guest_state::GuestState;
use crate::limits::{
    FIELD_BYTES_MAX, LOG_FIELDS_MAX, LOG_LINES_PER_CALL_MAX, MESSAGE_BYTES_MAX, METRICS_MAX, cut,
};

/// Severity of a plugin's log line. Numbers of the contract: 0 trace to 4 error; higher numbers are errors too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    fn from_number(level: u8) -> Self {
        match level {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            _ => Self::Error,
        }
    }
}

/// Where a plugin's log lines and metrics go. Called from inside the guest's call: return quickly, never block.
pub trait Diagnostics: Send + Sync + 'static {
    /// A log line. Messages and fields are cut to size already.
    fn log(&self, level: LogLevel, message: &str, fields: &[(&str, &str)]);
    /// Adds to a counter. At most 256 different metrics come from one instance.
    fn count(&self, metric: &str, delta: u64);
    /// Sets a gauge.
    fn gauge(&self, metric: &str, value: f64);
    /// `lines` log lines of one call were dropped because there were too many.
    fn log_lines_dropped(&self, lines: u32);
}

/// Throws everything away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Diagnostics for Silent {
    fn log(&self, _: LogLevel, _: &str, _: &[(&str, &str)]) {}
    fn count(&self, _: &str, _: u64) {}
    fn gauge(&self, _: &str, _: f64) {}
    fn log_lines_dropped(&self, _: u32) {}
}

/// What diagnostics remember about an instance and its present call.
#[derive(Debug, Default)]
pub(crate) struct DiagnosticsState {
    lines: u32,
    dropped: u32,
    metrics: HashSet<String>,
    /// The event that the guest last said it works on.
    pub last_mark: Option<u32>,
    /// What the panic hook said before the trap.
    pub panic: Option<Panic>,
}

impl DiagnosticsState {
    pub fn begin_call(&mut self) {
        self.lines = 0;
        self.dropped = 0;
        self.last_mark = None;
        self.panic = None;
    }

    /// Lines of this call that were dropped.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    fn admit_line(&mut self) -> bool {
        if self.lines >= LOG_LINES_PER_CALL_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        }
        self.lines += 1;
        true
    }

    fn admit_metric(&mut self, metric: &str) -> bool {
        if self.metrics.contains(metric) {
            return true;
        }
        self.metrics.len() < METRICS_MAX && self.metrics.insert(metric.to_owned())
    }
}

type Caller<'a> = StoreContextMut<'a, GuestState>;

/// Adds the interface's functions.
pub(crate) fn link(instance: &mut LinkerInstance<'_, GuestState>) -> wasmtime::Result<()> {
    instance.func_wrap("log", log)?;
    instance.func_wrap(
        "count",
        |mut caller: Caller<'_>, (metric, delta): (WasmStr, u64)| {
            with_metric(&mut caller, &metric, |diagnostics, name| {
                diagnostics.count(name, delta)
            })
        },
    )?;
    instance.func_wrap(
        "gauge",
        |mut caller: Caller<'_>, (metric, value): (WasmStr, f64)| {
            with_metric(&mut caller, &metric, |diagnostics, name| {
                diagnostics.gauge(name, value)
            })
        },
    )?;
    instance.func_wrap("mark", |mut caller: Caller<'_>, (event,): (u32,)| {
        caller
            .data_mut()
            .check_imports_allowed("diagnostics.mark")?;
        caller.data_mut().diagnostics_state.last_mark = Some(event);
        Ok(())
    })?;
    instance.func_wrap(
        "panicked",
        |mut caller: Caller<'_>, (message, location): (WasmStr, WasmStr)| {
            let panic = Panic {
                message: cut(&message.to_str(&caller)?, MESSAGE_BYTES_MAX).to_owned(),
                location: cut(&location.to_str(&caller)?, FIELD_BYTES_MAX).to_owned(),
            };
            caller.data_mut().diagnostics_state.panic = Some(panic);
            Ok(())
        },
    )
}

type LogParams = (u8, WasmStr, WasmList<(WasmStr, WasmStr)>);

fn log(mut caller: Caller<'_>, (level, message, fields): LogParams) -> wasmtime::Result<()> {
    caller.data_mut().check_imports_allowed("diagnostics.log")?;
    if !caller.data_mut().diagnostics_state.admit_line() {
        return Ok(());
    }
    let fields = fields
        .iter(&mut caller)?
        .take(LOG_FIELDS_MAX)
        .collect::<wasmtime::Result<Vec<_>>>()?;
    let caller = &caller;
    let message = message.to_str(caller)?;
    let mut texts = Vec::with_capacity(fields.len());
    for (name, value) in &fields {
        texts.push((name.to_str(caller)?, value.to_str(caller)?));
    }
    let texts: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, value)| (cut(name, FIELD_BYTES_MAX), cut(value, FIELD_BYTES_MAX)))
        .collect();
    caller.data().diagnostics.log(
        LogLevel::from_number(level),
        cut(&message, MESSAGE_BYTES_MAX),
        &texts,
    );
    Ok(())
}

fn with_metric(
    caller: &mut Caller<'_>,
    metric: &WasmStr,
    report: impl FnOnce(&dyn Diagnostics, &str),
) -> wasmtime::Result<()> {
    caller
        .data_mut()
        .check_imports_allowed("diagnostics.count")?;
    let name = cut(&metric.to_str(&*caller)?, FIELD_BYTES_MAX).to_owned();
    let state = caller.data_mut();
    if state.diagnostics_state.admit_metric(&name) {
        report(state.diagnostics.as_ref(), &name);
    }
    Ok(())
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}
