//! One module for each group of rules, and what they share.

mod cut_and_full;
mod flush;
mod power;
mod recycling;
mod redo;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use super::*;
use crate::testing::SimFs;

const NOW: Duration = Duration::ZERO;
const DIR: &str = "/data/journal";

/// Remembers what it is told.
#[derive(Debug, Default)]
struct Listener {
    flushed: Mutex<Vec<(i64, Lsn)>>,
    poisoned: Mutex<Vec<String>>,
}

impl FlushListener for Listener {
    fn flushed(&self, end_offset: i64, lsn: Lsn) {
        self.flushed.lock().push((end_offset, lsn));
    }

    fn poisoned(&self, reason: &str) {
        self.poisoned.lock().push(reason.to_owned());
    }
}

/// A journal with one listener.
struct Fixture {
    fs: SimFs,
    journal: Journal,
    listener: Arc<Listener>,
}

fn small() -> JournalOptions {
    JournalOptions {
        first_file_bytes: 4096,
        file_bytes_max: 8192,
        total_bytes_max: 1 << 20,
        ..JournalOptions::default()
    }
}

fn redo(fs: &SimFs) -> Result<Redo, JournalError> {
    Journal::open(Arc::new(fs.clone()), Path::new(DIR))
}

fn start(fs: &SimFs, options: JournalOptions) -> Fixture {
    let journal = redo(fs).unwrap().start(options).unwrap();
    Fixture {
        fs: fs.clone(),
        journal,
        listener: Arc::default(),
    }
}

fn entry(number: i64, bytes: &[u8]) -> EntryRef<'_> {
    EntryRef {
        topic_id: Uuid::from_u128(7),
        partition: 3,
        incarnation: 11,
        kind: EntryKind::Append {
            base_offset: number,
            bytes,
        },
    }
}

impl Fixture {
    fn append_within(
        &self,
        number: i64,
        bytes: &[u8],
        within: Duration,
    ) -> Result<Lsn, JournalError> {
        let listener: Arc<dyn FlushListener> = self.listener.clone();
        self.journal
            .append(entry(number, bytes), &listener, number + 1, within)
    }

    fn append(&self, number: i64, bytes: &[u8]) -> Lsn {
        self.append_within(number, bytes, NOW).unwrap()
    }

    /// Appends and waits until it is durable.
    fn commit(&self, number: i64, bytes: &[u8]) -> Lsn {
        let lsn = self.append(number, bytes);
        self.journal.wait_flushed_blocking(lsn).unwrap();
        lsn
    }

    fn file_names(&self) -> Vec<String> {
        file_names(&self.fs)
    }
}

/// The files that hold entries; not those that are prepared only.
fn file_names(fs: &SimFs) -> Vec<String> {
    let entries = fs.read_dir(Path::new(DIR)).unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    let used = names.filter(|name| {
        let bytes = fs
            .read(&Path::new(DIR).join(name), 1 << 20)
            .unwrap_or_default();
        let header = format::FileHeader::decode(&bytes);
        files::parse_file_name(name).is_some()
            && header.is_some_and(|header| !header.is_reservation())
    });
    used.collect()
}

fn file(number: u64) -> PathBuf {
    Path::new(DIR).join(files::file_name(number))
}

/// The number, base offset and bytes of each append that the journal hands back.
fn read_back(fs: &SimFs) -> Result<Vec<(u64, i64, Vec<u8>)>, JournalError> {
    let mut redo = redo(fs)?;
    let mut found = Vec::new();
    while let Some((lsn, entry)) = redo.next_entry()? {
        let EntryKind::Append { base_offset, bytes } = entry.kind else {
            panic!("{entry:?}");
        };
        found.push((lsn.0, base_offset, bytes.to_vec()));
    }
    Ok(found)
}

fn offsets(fs: &SimFs) -> Vec<i64> {
    read_back(fs)
        .unwrap()
        .iter()
        .map(|(_, offset, _)| *offset)
        .collect()
}

/// Waits for something that another thread does.
fn eventually(what: &str, check: impl Fn() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{what} did not happen"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}
