//! Giving up what is damaged in a log, so that it can be read again: nothing else ever makes a log lose records.
//!
//! `examine.rs` shows the damage and changes nothing. A repair opens the directory as a start does, so the journal is
//! redone first. Then, each step durable before the next:
//!
//! 1. the files of the damaged segments are copied (`copies.rs`),
//! 2. the losses are noted beside the log (`accepted.rs`),
//! 3. segment by segment, it is planned what is to become of it (`plan.rs`, pure), the new segment is written, and swapped
//!    in as compaction swaps (`salvage.rs`).
//!
//! Whatever kills it, each segment has the old damage or none. The log is refused as before as long as one has, and the same
//! call goes on.

mod accepted;
mod command;
mod copies;
mod endings;
mod error;
mod examine;
mod plan;
mod salvage;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::{META_PROPERTIES, MetaProperties};
use crate::cleaner::{CleanerOptions, clear_leftovers};
use crate::clock::Clock;
use crate::fs::FileSystem;
use crate::log::{CompactionView, Log, LogId};
use crate::segment::Segment;
use crate::store::{LogStore, NodeCheckpoint, StoreError, split_name};
use crate::{LogConfig, StoreOptions, failpoint};

use plan::LostPlace;

pub use accepted::AcceptedLoss;
pub(crate) use accepted::{ACCEPTED_LOSSES, AcceptedLosses};
pub use command::{repair_advice, repair_command};
pub use error::RepairError;
pub use examine::{Examination, examine};

/// A log in a data directory that no node has open.
#[derive(Debug, Clone)]
pub struct RepairTarget {
    pub fs: Arc<dyn FileSystem>,
    pub clock: Arc<dyn Clock>,
    /// The data directory.
    pub dir: PathBuf,
    /// `TOPIC-PARTITION`
    pub log: String,
    /// See [`StoreOptions::metadata_log`]: where it is lost or damaged, it comes before all others.
    pub metadata_log: Option<LogId>,
}

/// Offsets that cannot be read because of damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    pub path: PathBuf,
    pub position: u64,
    /// The end is `i64::MAX` where it is not known.
    pub offsets: std::ops::Range<i64>,
    pub reason: String,
    /// The greatest timestamp of the last sound batch before, ms since 1970.
    pub before_ms: Option<i64>,
    /// The timestamp of the first sound batch behind.
    pub after_ms: Option<i64>,
}

/// What a repair has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    pub losses: Vec<Loss>,
    /// Copies of the segment files that were damaged.
    pub copies: Vec<PathBuf>,
}

/// Gives up what is damaged in a log. The directory is opened as a node opens it, and closed cleanly.
///
/// # Errors
/// See [`RepairError`]. The damage is as it was, or, where several segments are damaged, less.
pub fn repair(target: &RepairTarget) -> Result<Repaired, RepairError> {
    let options = options(target)?;
    let (store, _) = LogStore::open(options)?;
    let repaired = repair_in(&store, target);
    let closed = store.close_blocking();
    let repaired = repaired?;
    closed?;
    Ok(repaired)
}

/// How the node itself would open the directory, without anything that runs by itself.
fn options(target: &RepairTarget) -> Result<StoreOptions, RepairError> {
    const LONG_MS: u64 = 24 * 60 * 60 * 1000;
    let dir = &target.dir;
    let not_a_node = |missing| RepairError::NotANode {
        dir: dir.clone(),
        missing,
    };
    let fs = &*target.fs;
    let checkpoint =
        NodeCheckpoint::read(fs, dir)?.ok_or_else(|| not_a_node(crate::store::CHECKPOINT_FILE))?;
    let meta = MetaProperties::read(fs, &dir.join(META_PROPERTIES))?
        .ok_or_else(|| not_a_node(META_PROPERTIES))?;
    check_log_exists(target)?;
    Ok(StoreOptions {
        fs: Arc::clone(&target.fs),
        clock: Arc::clone(&target.clock),
        node_id: meta.node_id,
        // Damaged as it is, it would keep the directory from being opened.
        metadata_log: (target.metadata_log.clone()).filter(|log| log.to_string() != target.log),
        cleaner: CleanerOptions {
            enabled: false,
            ..CleanerOptions::default()
        },
        scrub_interval_ms: 0,
        checkpoint_interval_ms: LONG_MS,
        retention_check_interval_ms: LONG_MS,
        // Hardly anything is appended.
        journal_file_bytes_max: 1 << 20,
        ..StoreOptions::new(dir, checkpoint.flush)
    })
}

/// A log that is known to the node and not there has its own message.
fn not_there(store: &LogStore, target: &RepairTarget) -> RepairError {
    let dir = target.dir.join(&target.log);
    let mut lost = store.lost_logs().into_iter();
    match lost.find(|lost| lost.dir.as_ref() == Some(&dir)) {
        Some(lost) => RepairError::Store(StoreError::Lost { lost }),
        None => unknown(target),
    }
}

fn unknown(target: &RepairTarget) -> RepairError {
    RepairError::UnknownLog {
        log: target.log.clone(),
        dir: target.dir.clone(),
    }
}

/// A name that has no directory must not cost a start.
fn check_log_exists(target: &RepairTarget) -> Result<(), RepairError> {
    let path = target.dir.join(&target.log);
    let exists = split_name(&target.log).is_some()
        && target
            .fs
            .exists(&path)
            .map_err(|error| RepairError::io("looking for", &path, error))?;
    match exists {
        true => Ok(()),
        false => Err(unknown(target)),
    }
}

fn repair_in(store: &Arc<LogStore>, target: &RepairTarget) -> Result<Repaired, RepairError> {
    let log = store
        .logs()
        .into_iter()
        .find(|log| log.id().to_string() == target.log)
        .ok_or_else(|| not_there(store, target))?;
    let io = |source| RepairError::io("reading", log.dir(), source);
    if log.look_for_damage().map_err(io)?.is_empty() {
        return Err(RepairError::NothingDamaged {
            log: target.log.clone(),
            accepted: log.accepted_losses(),
        });
    }
    // Only what is rolled and synced is ever swapped.
    log.roll_active()?;
    store.checkpoint()?;
    log.set_config(LogConfig {
        file_delete_delay_ms: 0,
        ..(*log.config()).clone()
    });
    let result = give_up(&log, &*target.fs);
    store.remove_deleted_files();
    result
}

fn give_up(log: &Log, fs: &dyn FileSystem) -> Result<Repaired, RepairError> {
    let _cleaning = log.begin_cleaning();
    clear_leftovers(log)?;
    let view = log.compaction_view();
    let io = |source| RepairError::io("reading", log.dir(), source);
    let mut damaged = view.segments.clone();
    damaged.retain(|segment| !segment.damages().is_empty());
    let (mut losses, mut copies) = (Vec::new(), Vec::new());
    for segment in &damaged {
        let copy = copies::keep_copy(fs, log.dir(), segment.base_offset());
        copies.extend(copy.map_err(|error| RepairError::io("copying", &segment.path(), error))?);
        for place in salvage::lost_places(log, segment).map_err(io)? {
            losses.push(Loss::of(fs, &segment.path(), place).map_err(io)?);
        }
    }
    failpoint::hit("repair.after_copies");
    let now_ms = log.now_ms();
    let accepted: Vec<_> = losses.iter().map(|loss| loss.accepted(now_ms)).collect();
    let former = log.accept_losses(&accepted)?;
    failpoint::hit("repair.after_note");
    for (index, segment) in damaged.iter().enumerate() {
        if let Err(error) = replace(log, &view, segment) {
            // As long as all damage is there, nothing was given up.
            if index == 0 && log.has_segment(segment) {
                log.restore_losses(former)?;
            }
            return Err(error);
        }
    }
    Ok(Repaired { losses, copies })
}

/// Puts the sound rest of a damaged segment into its place.
fn replace(log: &Log, view: &CompactionView, segment: &Arc<Segment>) -> Result<(), RepairError> {
    let plan = salvage::plan(log, segment)
        .map_err(|error| RepairError::io("reading", &segment.path(), error))?;
    match salvage::execute(log, view, segment, &plan)? {
        true => Ok(()),
        false => Err(RepairError::Changed {
            log: log.id().to_string(),
        }),
    }
}

impl Loss {
    fn of(fs: &dyn FileSystem, path: &Path, place: LostPlace) -> io::Result<Self> {
        let mut loss = Self {
            path: path.to_owned(),
            position: place.position,
            offsets: place.offsets,
            reason: place.reason,
            before_ms: None,
            after_ms: None,
        };
        loss.find_times(fs)?;
        Ok(loss)
    }

    fn accepted(&self, accepted_ms: i64) -> AcceptedLoss {
        let file = self.path.file_name().unwrap_or_default();
        AcceptedLoss {
            offsets: self.offsets.clone(),
            accepted_ms,
            file: file.to_string_lossy().into_owned(),
            position: self.position,
            reason: self.reason.clone(),
        }
    }
}
