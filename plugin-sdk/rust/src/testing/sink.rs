//! Where effects and diagnostics go when a plugin runs natively: kept for the thread that tests it.

use std::cell::RefCell;

use crate::Level;

thread_local! {
    static FRAMES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static LOGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

pub fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!(" {name}={value}"))
        .collect();
    LOGS.with_borrow_mut(|logs| logs.push(format!("{level:?}: {message}{fields}")));
}

pub fn count(metric: &str, delta: u64) {
    LOGS.with_borrow_mut(|logs| logs.push(format!("count {metric} {delta}")));
}

pub fn gauge(metric: &str, value: f64) {
    LOGS.with_borrow_mut(|logs| logs.push(format!("gauge {metric} {value}")));
}

pub fn mark(_event: u32) {}

pub fn emit(frame: &[u8]) {
    FRAMES.with_borrow_mut(|frames| frames.push(frame.to_vec()));
}

/// The effects frames that `work` emits.
pub(super) fn collect_frames(work: impl FnOnce()) -> Vec<Vec<u8>> {
    FRAMES.with_borrow_mut(Vec::clear);
    work();
    FRAMES.with_borrow_mut(std::mem::take)
}

pub(super) fn take_logs() -> Vec<String> {
    LOGS.with_borrow_mut(std::mem::take)
}
