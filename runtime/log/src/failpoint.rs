//! Named fail points: places where a test can kill the process, return an error or pause.
//!
//! They are armed by the environment, `MILLSTREAM_FAILPOINTS="name=kill@3,other=error,third=pause:50"`
//! (`@N`: at the Nth time the place is reached, counted from 1; 1 when not given), or by [`arm`] in a test.
//! While none is armed, a fail point costs one relaxed load.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// The environment variable that arms fail points in a process.
pub const ENVIRONMENT: &str = "MILLSTREAM_FAILPOINTS";

/// Every fail point there is, with what has happened when it is reached.
const NAMES: &[(&str, &str)] = &[
    (
        "journal.before_write",
        "a group was taken, nothing of it is in the file",
    ),
    (
        "journal.before_sync",
        "a group is written and not yet flushed",
    ),
    ("journal.after_sync", "a group is durable, nobody was told"),
    (
        "journal.before_cut",
        "a checkpoint is durable, covered journal files still exist",
    ),
    (
        "checkpoint.before_rename",
        "a checkpoint's .tmp is durable, the old one is still in force",
    ),
    (
        "log.after_segment_write",
        "a batch is in its segment file and not in the journal",
    ),
    (
        "log.before_roll",
        "a segment is full, the next one does not exist",
    ),
    (
        "cleaner.after_map",
        "the offset map of a pass is made, nothing is copied",
    ),
    (
        "cleaner.after_segment",
        "a segment is copied, its successor is neither whole nor synced",
    ),
    (
        "cleaner.before_sync",
        "a compacted segment is written, not synced",
    ),
    (
        "cleaner.before_swap_name",
        "a compacted segment is durable and called .cleaned",
    ),
    (
        "cleaner.after_swap_name",
        "a compacted segment is called .swap, the old ones are in their places",
    ),
    (
        "cleaner.before_checkpoint",
        "a pass has swapped all segments, its checkpoint is not written",
    ),
    (
        "repair.after_copies",
        "damaged segments are copied, nothing is given up",
    ),
    (
        "repair.after_note",
        "losses are noted as accepted, the damaged segments are in their places",
    ),
    (
        "retention.after_log_start",
        "the log's start is moved, the segments below it are in the log still",
    ),
    (
        "segments.after_swap",
        "segments are out of the log's list, their files have their names still",
    ),
    (
        "segments.between_files",
        "a file of a segment is renamed, the next file of the same segment is not",
    ),
    (
        "segments.between_renames",
        "a segment's files are renamed, those of the next one are not",
    ),
    (
        "segments.before_own_name",
        "the old segments are gone, the compacted one is called .swap still",
    ),
    (
        "segments.before_delete",
        "a deleted segment's time has come, its files are there",
    ),
    ("store.before_checkpoint", "a node checkpoint begins"),
    (
        "store.after_log_sync",
        "a checkpoint has synced the logs, no recovery point is moved",
    ),
    (
        "store.after_delete_entry",
        "the deletion of a log is in the journal, its directory is as it was",
    ),
    (
        "store.after_delete_name",
        "a deleted log's directory has the name of one, its files are there",
    ),
    (
        "store.before_clean_marker",
        "a clean shutdown has synced all, the marker is not written",
    ),
    (
        "transaction.after_data",
        "data of a transaction is appended, its offsets are not",
    ),
    (
        "transaction.before_prepare",
        "all data of a transaction is appended, no decision",
    ),
    (
        "transaction.after_prepare",
        "the decision is appended, no marker is",
    ),
    (
        "transaction.between_markers",
        "some markers are appended, others are not",
    ),
    (
        "transaction.after_markers",
        "all markers are appended, no completion",
    ),
    (
        "transaction.after_complete",
        "the completion is appended, nobody was told",
    ),
    (
        "topic.before_removal",
        "a topic is about to be deleted, the metadata have it",
    ),
    (
        "topic.after_removal",
        "a topic is deleted from the metadata, its offsets and files are there",
    ),
    (
        "topic.before_files",
        "the groups know of a topic's deletion, its files are there",
    ),
    (
        "topic.after_files",
        "a deleted topic's files are gone, nobody was told",
    ),
    (
        "topic.after_creation",
        "topics are created in the metadata, nobody was told",
    ),
    (
        "group.after_offsets",
        "offsets of a transaction are appended, the transaction is open",
    ),
    (
        "deployment.before_fencing",
        "a run is planned, its forerunner's tasks are not fenced",
    ),
    (
        "deployment.between_tasks",
        "a task of the forerunner is fenced, the next is not",
    ),
    (
        "deployment.before_metadata",
        "all tasks of the forerunner are fenced, no metadata is written",
    ),
    (
        "deployment.after_metadata",
        "the metadata of a run are durable, the logs of renewed topics are there",
    ),
    (
        "deployment.after_logs",
        "the logs of all renewed topics are gone, no task has begun",
    ),
];

/// What an armed fail point does when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailAction {
    /// SIGKILL to this process, as `kill -9` would.
    Kill,
    /// [`check`] returns an error of kind `Other`; [`hit`] does nothing.
    Error,
    /// Sleeps that long.
    Pause(Duration),
}

/// What an armed fail point does: one of the actions, or something of a test's own.
enum Deed {
    Action(FailAction),
    Call(Box<dyn FnOnce() + Send>),
}

struct Armed {
    name: String,
    deed: Deed,
    /// Reached this many times more before it acts.
    hits_before: u64,
}

const UNREAD: u8 = 0;
const DISARMED: u8 = 1;
const ARMED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNREAD);
static ARMED_POINTS: Mutex<Vec<Armed>> = Mutex::new(Vec::new());

/// The place `name` is reached where no error can be returned.
#[inline]
pub fn hit(name: &'static str) {
    if STATE.load(Ordering::Relaxed) != DISARMED {
        let _ = reached(name);
    }
}

/// The place `name` is reached where an error can be returned.
#[inline]
pub fn check(name: &'static str) -> io::Result<()> {
    if STATE.load(Ordering::Relaxed) == DISARMED {
        return Ok(());
    }
    reached(name)
}

/// The names of all fail points, with what has happened when each is reached.
pub fn list() -> &'static [(&'static str, &'static str)] {
    NAMES
}

/// Arms a fail point: it acts at the `nth` time it is reached from now on (1 = the next), once.
///
/// # Panics
/// When there is no fail point of that name: a test that arms one that never fires would always pass.
pub fn arm(name: &str, action: FailAction, nth: u64) {
    arm_deed(name, Deed::Action(action), nth);
}

/// As [`arm`], but the fail point calls `call`, which may, say, cut the power of a simulated disk.
///
/// # Panics
/// When there is no fail point of that name.
pub fn arm_call(name: &str, nth: u64, call: impl FnOnce() + Send + 'static) {
    arm_deed(name, Deed::Call(Box::new(call)), nth);
}

fn arm_deed(name: &str, deed: Deed, nth: u64) {
    assert!(is_known(name), "there is no fail point {name:?}");
    read_environment();
    let hits_before = nth.saturating_sub(1);
    let name = name.to_owned();
    ARMED_POINTS.lock().push(Armed {
        name,
        deed,
        hits_before,
    });
    STATE.store(ARMED, Ordering::Relaxed);
}

/// Disarms all fail points of this process.
pub fn disarm_all() {
    ARMED_POINTS.lock().clear();
    STATE.store(DISARMED, Ordering::Relaxed);
}

#[cold]
fn reached(name: &'static str) -> io::Result<()> {
    debug_assert!(is_known(name), "fail point {name:?} is missing in the list");
    read_environment();
    let action = match take_deed(name) {
        None => return Ok(()),
        Some(Deed::Action(action)) => action,
        Some(Deed::Call(call)) => {
            call();
            return Ok(());
        }
    };
    match action {
        FailAction::Kill => {
            let me = rustix::process::getpid();
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
            // The signal is delivered before the call returns to this thread; if not, stop all the same.
            std::process::abort()
        }
        FailAction::Error => Err(io::Error::other(format!("fail point {name}"))),
        FailAction::Pause(time) => {
            std::thread::sleep(time);
            Ok(())
        }
    }
}

fn take_deed(name: &str) -> Option<Deed> {
    let mut points = ARMED_POINTS.lock();
    let index = points.iter().position(|point| point.name == name)?;
    if points[index].hits_before > 0 {
        points[index].hits_before -= 1;
        return None;
    }
    let deed = points.remove(index).deed;
    if points.is_empty() {
        STATE.store(DISARMED, Ordering::Relaxed);
    }
    Some(deed)
}

/// Arms what the environment asks for, once per process.
fn read_environment() {
    let mut points = ARMED_POINTS.lock();
    if STATE.load(Ordering::Relaxed) != UNREAD {
        return;
    }
    let text = std::env::var(ENVIRONMENT).unwrap_or_default();
    for item in text.split(',').filter(|item| !item.trim().is_empty()) {
        match parse(item.trim()) {
            Some(point) => points.push(point),
            None => tracing::error!(
                item,
                "{ENVIRONMENT} has an item that names no fail point or action"
            ),
        }
    }
    let state = if points.is_empty() { DISARMED } else { ARMED };
    STATE.store(state, Ordering::Relaxed);
}

fn parse(item: &str) -> Option<Armed> {
    let (name, what) = item.split_once('=')?;
    let (action, nth) = match what.split_once('@') {
        Some((action, nth)) => (action, nth.parse::<u64>().ok().filter(|n| *n > 0)?),
        None => (what, 1),
    };
    let action = match action.split_once(':') {
        None if action == "kill" => FailAction::Kill,
        None if action == "error" => FailAction::Error,
        Some(("pause", ms)) => FailAction::Pause(Duration::from_millis(ms.parse().ok()?)),
        _ => return None,
    };
    is_known(name).then(|| Armed {
        name: name.to_owned(),
        deed: Deed::Action(action),
        hits_before: nth - 1,
    })
}

fn is_known(name: &str) -> bool {
    NAMES.iter().any(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_names_a_point_an_action_and_a_turn() {
        let parsed = |item| match parse(item).unwrap() {
            Armed {
                deed: Deed::Action(action),
                hits_before,
                ..
            } => (action, hits_before),
            _ => panic!("{item:?} is an action"),
        };
        assert_eq!(parsed("journal.before_sync=kill@3"), (FailAction::Kill, 2));
        let pause = FailAction::Pause(Duration::from_millis(50));
        assert_eq!(parsed("journal.before_sync=pause:50"), (pause, 0));
        for wrong in [
            "nowhere=kill",
            "journal.before_sync",
            "journal.before_sync=stop",
            "journal.before_sync=kill@0",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_armed_point_acts_once_at_its_turn() {
        // No code of this crate reaches this point, so the test can run beside the others.
        arm("transaction.before_prepare", FailAction::Error, 2);
        assert!(check("transaction.before_prepare").is_ok());
        assert!(check("transaction.before_prepare").is_err());
        assert!(check("transaction.before_prepare").is_ok());
    }
}
