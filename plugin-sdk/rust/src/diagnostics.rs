//! Log lines and metrics: to the host in wasm, to the testing harness natively.

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

#[cfg(target_arch = "wasm32")]
mod target {
    use crate::bindings::millstream::plugin::{diagnostics, effects};

    pub fn log(level: super::Level, message: &str, fields: &[(&str, &str)]) {
        let fields: Vec<(String, String)> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        diagnostics::log(level as u8, message, &fields);
    }

    pub fn count(metric: &str, delta: u64) {
        diagnostics::count(metric, delta);
    }

    pub fn gauge(metric: &str, value: f64) {
        diagnostics::gauge(metric, value);
    }

    pub fn mark(event: u32) {
        diagnostics::mark(event);
    }

    pub fn emit(frame: &[u8]) {
        effects::emit(frame);
    }

    /// Sends a panic's message to the host, which would see only the trap.
    pub fn set_panic_hook() {
        std::panic::set_hook(Box::new(|panic| {
            let payload = panic.payload();
            let message = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("a panic without a message");
            let location = panic
                .location()
                .map(ToString::to_string)
                .unwrap_or_default();
            diagnostics::panicked(message, &location);
        }));
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod target {
    pub use crate::testing::sink::{count, emit, gauge, log, mark};

    /// A native test reports panics itself.
    pub fn set_panic_hook() {}
}

pub(crate) use target::{count, emit, gauge, log, mark, set_panic_hook};
