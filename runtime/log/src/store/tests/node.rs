//! A store as a node has it: with a metadata log, without which the others mean nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::fs::{FileSystem, OpenMode};
use crate::log::test_support::*;
use crate::testing::{ManualClock, SimFs};
use crate::{
    FlushMode, Isolation, Log, LogConfig, LogId, LogStore, RecoveryReport, StoreError, StoreOptions,
};

pub(super) const MODES: [FlushMode; 2] = [FlushMode::Os, FlushMode::Journal];
pub(super) const METADATA_FILE: &str = "/data/__cluster_metadata-0/partition.metadata";
pub(super) const METADATA_LOG: &str = "/data/__cluster_metadata-0/00000000000000000000.log";

/// How a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Close,
    Kill,
}

pub(super) const STOPS: [Stop; 2] = [Stop::Close, Stop::Kill];

pub(super) fn metadata_log() -> LogId {
    LogId {
        topic_id: Uuid::from_u128(1),
        topic: "__cluster_metadata".to_owned(),
        partition: 0,
    }
}

pub(super) fn node_options(fs: &SimFs, flush: FlushMode) -> StoreOptions {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    StoreOptions {
        metadata_log: Some(metadata_log()),
        ..options(&Arc::new(fs.clone()), &clock, flush)
    }
}

pub(super) fn open_node(
    fs: &SimFs,
    flush: FlushMode,
) -> Result<(Arc<LogStore>, RecoveryReport), StoreError> {
    LogStore::open(node_options(fs, flush))
}

/// The error of a start that must be refused, and must leave the disk as it is.
#[track_caller]
pub(super) fn refused(fs: &SimFs, flush: FlushMode) -> StoreError {
    let (before, operations) = (snapshot(fs), fs.operations());
    let error = open_node(fs, flush).expect_err("the start is refused");
    assert_eq!(
        fs.operations(),
        operations,
        "something was changed: {error}"
    );
    assert!(snapshot(fs) == before, "something was changed: {error}");
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    error
}

/// Names and contents of everything below the data directory.
pub(super) fn snapshot(fs: &SimFs) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::from("/data")];
    while let Some(dir) = dirs.pop() {
        for entry in fs.read_dir(&dir).unwrap() {
            let path = dir.join(entry.name);
            match entry.is_dir {
                true => {
                    found.push((path.clone(), None));
                    dirs.push(path);
                }
                false => {
                    let bytes = fs.read(&path, 1 << 30).unwrap();
                    found.push((path, Some(bytes)));
                }
            }
        }
    }
    found.sort();
    found
}

/// A node with metadata and two logs `flights-0` and `flights-1` of three records each, and a checkpoint that knows as
/// many of them as it is asked to.
pub(super) fn node_with_logs(flush: FlushMode, stop: Stop, checkpointed: usize) -> SimFs {
    let fs = SimFs::new(1);
    let (store, _) = open_node(&fs, flush).unwrap();
    let logs: Vec<_> = [metadata_log(), id(0), id(1)]
        .into_iter()
        .map(|id| store.create_log(id, LogConfig::default()).unwrap())
        .collect();
    for number in 0..3 {
        if number == checkpointed {
            store.checkpoint().unwrap();
        }
        for log in &logs {
            flush_all(&store, log, &[&format!("record {number}")]);
        }
    }
    if checkpointed == 3 {
        store.checkpoint().unwrap();
    }
    drop(logs);
    stopped(fs, store, stop)
}

pub(super) fn stopped(fs: SimFs, store: Arc<LogStore>, stop: Stop) -> SimFs {
    match stop {
        Stop::Close => {
            store.close_blocking().unwrap();
            drop(store);
            fs
        }
        Stop::Kill => {
            let after = fs.kill(7);
            drop(store);
            after
        }
    }
}

pub(super) fn flush_all(store: &LogStore, log: &Log, values: &[&str]) {
    let last = append(log, values);
    flush(store, &last);
}

/// All logs of the node have their three records, and go on behind them.
#[track_caller]
pub(super) fn check_whole(fs: &SimFs, flush: FlushMode) {
    let (store, report) = open_node(fs, flush).unwrap();
    assert_eq!(report.problems, []);
    for id in [metadata_log(), id(0), id(1)] {
        let log = store.create_log(id, LogConfig::default()).unwrap();
        check_records(&log);
        let next = append(&log, &["behind"]);
        assert_eq!(next.base_offset, 3);
    }
}

#[track_caller]
pub(super) fn check_records(log: &Log) {
    let values: Vec<_> = (0..3).map(|at| (at, format!("record {at}"))).collect();
    assert_eq!(
        values_from(log, 0, Isolation::LogEnd),
        values,
        "{}",
        log.id()
    );
}

/// Replaces a file durably.
pub(super) fn write(fs: &SimFs, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs.open(path, OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_at(bytes, 0).unwrap();
    fs.sync_filesystem(path).unwrap();
}

pub(super) fn read(fs: &SimFs, path: &str) -> Vec<u8> {
    fs.read(Path::new(path), 1 << 30).unwrap()
}

pub(super) fn remove_dir(fs: &SimFs, path: &str) {
    fs.remove_dir_all(Path::new(path)).unwrap();
    fs.sync_filesystem(Path::new(path)).unwrap();
}

/// The whole content of a directory, to be put back.
pub(super) fn take_dir(fs: &SimFs, path: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs.read_dir(Path::new(path)).unwrap();
    let content = files.into_iter().map(|entry| {
        let file = format!("{path}/{}", entry.name);
        let bytes = read(fs, &file);
        (file, bytes)
    });
    let content = content.collect();
    remove_dir(fs, path);
    content
}

pub(super) fn put_back(fs: &SimFs, files: Vec<(String, Vec<u8>)>) {
    for (path, bytes) in files {
        write(fs, &path, &bytes);
    }
}
