//! Files that are not what was written: whatever a start makes of them, no wrong byte is served, nothing aborted is
//! shown, and what is lost is said, with its file.
//!
//! `golden.rs` makes disks with all kinds of files (`content.rs`) and knows what was on them; every other file damages copies of them
//! in one way, and says what has to come of it.

mod content;
mod ends;
mod flips;
mod golden;
mod journal;
mod leftovers;
mod missing;
mod noise;
mod others;
mod places;
mod scrub;

use std::path::Path;

/// What went wrong, case by case: one bad byte shall not hide the others.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    /// Runs a check of one case, which may panic.
    fn run(&mut self, case: &str, check: impl FnOnce()) {
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)) {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            self.0.push(format!("{case}: {}", text.unwrap_or_default()));
        }
    }
}

impl Drop for Failures {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.0.is_empty() {
            let shown = self.0[..self.0.len().min(12)].join("\n\n");
            panic!("{} cases failed:\n{shown}", self.0.len());
        }
    }
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|end| end.to_str()).unwrap_or("")
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("")
}
