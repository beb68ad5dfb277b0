//! A task's store against a model: transactions that commit or abort, snapshots taken meanwhile, restarts, and tails of the
//! changelog that are lost before other records take their offsets.

use std::collections::BTreeMap;

use millstream_state::snapshot::{Block, HEADER_LEN, Restored, Restoring, Taking};
use millstream_state::{Change, ChangelogEnd, Cursor, Entry, Overlay, Table, Tag};
use proptest::prelude::*;

const TOPIC_ID: [u8; 16] = [5; 16];

/// What is kept under a key: value and expiry. `None` in the changelog is a tombstone.
type Kept = (Vec<u8>, Option<i64>);

/// Key, and what is put under it: a value of so many bytes of one kind, and its expiry. `None` removes the key.
type Write = (u16, Option<(u8, usize, Option<i64>)>);

#[derive(Debug, Clone)]
enum Step {
    /// In a transaction; false aborts it.
    Transaction(Vec<Write>, bool),
    BeginSnapshot,
    Slice,
    /// The next commit ends the snapshot, if its slices are done.
    EndSnapshot,
    /// Everything in memory is gone.
    Restart,
    /// The last commits are lost, and the next leader has a new epoch.
    LoseTail(usize),
    /// This byte of the newest snapshot.
    Damage(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let put = (any::<u8>(), 0..3_000usize, proptest::option::of(0..100i64));
    let change = (0..300u16, proptest::option::weighted(0.7, put));
    let changes = proptest::collection::vec(change, 0..60);
    prop_oneof![
        12 => (changes, proptest::bool::weighted(0.8)).prop_map(|(changes, commits)| Step::Transaction(changes, commits)),
        3 => Just(Step::BeginSnapshot),
        12 => Just(Step::Slice),
        6 => Just(Step::EndSnapshot),
        2 => Just(Step::Restart),
        1 => (1..6usize).prop_map(Step::LoseTail),
        1 => any::<usize>().prop_map(Step::Damage),
    ]
}

/// What survives a restart.
#[derive(Debug, Default)]
struct Disk {
    /// Each record with its leader epoch.
    changelog: Vec<(i32, Vec<u8>, Option<Kept>)>,
    /// The end of each commit.
    commits: Vec<usize>,
    snapshots: Vec<Vec<u8>>,
    epoch: i32,
}

impl Disk {
    fn end_of(&self, epoch: i32) -> Option<i64> {
        let last = self
            .changelog
            .iter()
            .rposition(|(wrote, ..)| *wrote == epoch)?;
        Some(last as i64 + 1)
    }

    fn end(&self) -> ChangelogEnd {
        ChangelogEnd {
            topic_id: TOPIC_ID,
            next_offset: self.changelog.len() as i64,
            leader_epoch: self.changelog.last().map_or(-1, |(epoch, ..)| *epoch),
        }
    }

    /// What a reader of the whole changelog knows.
    fn model(&self) -> BTreeMap<Vec<u8>, Kept> {
        let mut model = BTreeMap::new();
        for (_, key, kept) in &self.changelog {
            match kept {
                Some(kept) => model.insert(key.clone(), kept.clone()),
                None => model.remove(key),
            };
        }
        model
    }

    /// The table of a new start, and whether a snapshot was of use.
    fn restore(&self) -> (Table, bool) {
        let usable = self.snapshots.iter().rev().find_map(|file| {
            let restored = read(file)?;
            let [end] = restored.tag.changelogs[..] else {
                panic!("one store");
            };
            let is_in = end.is_in(&TOPIC_ID, |epoch| self.end_of(epoch));
            is_in.then_some((restored, end))
        });
        let was_of_use = usable.is_some();
        let (mut table, from) = match usable {
            None => (Table::ordered(), 0),
            Some((mut restored, end)) => (restored.tables.remove(0), end.next_offset as usize),
        };
        for (_, key, kept) in &self.changelog[from..] {
            change_of(key, kept.as_ref()).apply(&mut table);
        }
        (table, was_of_use)
    }
}

fn change_of<'k>(key: &'k [u8], kept: Option<&'k Kept>) -> Change<'k> {
    match kept {
        None => Change::Remove(key),
        Some((value, expires)) => Change::Put(Entry {
            expires: *expires,
            ..Entry::new(key, value)
        }),
    }
}

fn read(mut file: &[u8]) -> Option<Restored> {
    let mut restoring = Restoring::begin(vec![Table::ordered()]);
    while let Some(header) = file.first_chunk() {
        let (block, rest) = file.split_at_checked(HEADER_LEN + Block::body_len(header))?;
        restoring.block(block).ok()?;
        file = rest;
    }
    restoring.end().ok().filter(|_| file.is_empty())
}

/// The store of a running task.
struct Task {
    tables: Vec<Table>,
    overlay: Overlay,
    taking: Option<(Taking, Vec<u8>)>,
    slices_are_done: bool,
    ends_with_next: bool,
}

impl Task {
    fn start(disk: &Disk) -> (Self, bool) {
        let (table, was_of_use) = disk.restore();
        let task = Self {
            tables: vec![table],
            overlay: Overlay::new(true),
            taking: None,
            slices_are_done: false,
            ends_with_next: false,
        };
        (task, was_of_use)
    }

    fn commit(&mut self, disk: &mut Disk) {
        let mut cursor = Cursor::default();
        while self.overlay.walk(&mut cursor, |change| {
            let kept = match change {
                Change::Put(entry) => Some((entry.value.to_vec(), entry.expires)),
                Change::Remove(_) => None,
            };
            disk.changelog
                .push((disk.epoch, change.key().to_vec(), kept));
            change.apply(&mut self.tables[0]);
        }) {}
        disk.commits.push(disk.changelog.len());
        if let Some((taking, file)) = &mut self.taking {
            taking.committed(0, &self.overlay);
            file.extend(taking.take());
        }
        self.overlay.clear();
        if std::mem::take(&mut self.ends_with_next) {
            let (mut taking, mut file) = self.taking.take().expect("it is being taken");
            taking.end(Tag {
                changelogs: vec![disk.end()],
                ..Tag::default()
            });
            file.extend(taking.take());
            disk.snapshots.push(file);
        }
    }

    fn check(&self, model: &BTreeMap<Vec<u8>, Kept>) {
        let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let found = self.tables[0].range(all.0, all.1);
        let found: Vec<_> = found
            .map(|entry| (entry.key.to_vec(), (entry.value.to_vec(), entry.expires)))
            .collect();
        let expected: Vec<_> = model
            .iter()
            .map(|(key, kept)| (key.clone(), kept.clone()))
            .collect();
        assert_eq!(found, expected);
    }
}

/// Does the steps; how many restarts used a snapshot.
fn run(steps: Vec<Step>) -> usize {
    let mut disk = Disk::default();
    let mut with_snapshot = 0;
    let (mut task, _) = Task::start(&disk);
    for step in steps {
        let mut restarts = false;
        match step {
            Step::Transaction(changes, commits) => {
                let mut expected = disk.model();
                for (key, change) in &changes {
                    let key = key.to_be_bytes().to_vec();
                    let kept = change.map(|(byte, len, expires)| (vec![byte; len], expires));
                    match change_of(&key, kept.as_ref()) {
                        Change::Put(entry) => task.overlay.put(&entry),
                        Change::Remove(key) => task.overlay.remove(key),
                    }
                    match kept {
                        Some(kept) => expected.insert(key, kept),
                        None => expected.remove(&key),
                    };
                }
                match commits {
                    true => {
                        task.commit(&mut disk);
                        assert_eq!(disk.model(), expected);
                    }
                    false => task.overlay.clear(),
                }
            }
            Step::BeginSnapshot => {
                task.taking.get_or_insert_with(|| {
                    task.slices_are_done = false;
                    (Taking::begin(), Vec::new())
                });
            }
            Step::Slice => {
                if let Some((taking, file)) = &mut task.taking {
                    task.slices_are_done |= !taking.slice(&task.tables);
                    file.extend(taking.take());
                }
            }
            Step::EndSnapshot => {
                task.ends_with_next = task.taking.is_some() && task.slices_are_done;
            }
            Step::Damage(at) => {
                if let Some(file) = disk.snapshots.last_mut() {
                    let at = at % file.len();
                    file[at] ^= 1;
                }
            }
            Step::Restart => restarts = true,
            Step::LoseTail(commits) => {
                let left = disk.commits.len().saturating_sub(commits);
                disk.commits.truncate(left);
                let end = disk.commits.last().copied().unwrap_or(0);
                disk.changelog.truncate(end);
                disk.epoch += 1;
                restarts = true;
            }
        }
        if restarts {
            let (new, was_of_use) = Task::start(&disk);
            task = new;
            with_snapshot += usize::from(was_of_use);
        }
        task.check(&disk.model());
    }
    with_snapshot
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_store_is_what_its_changelog_says(steps in proptest::collection::vec(step(), 1..120)) {
        run(steps);
    }
}

#[test]
fn restarts_do_use_snapshots() {
    let put = |n: u16| Step::Transaction(vec![(n, Some((1, 2_000, None)))], true);
    let mut steps: Vec<Step> = (0..200).map(put).collect();
    steps.push(Step::BeginSnapshot);
    steps.extend((0..20).flat_map(|n| [Step::Slice, put(n)]));
    steps.extend([
        Step::EndSnapshot,
        put(7),
        put(8),
        Step::Restart,
        Step::LoseTail(1),
    ]);
    assert_eq!(run(steps.clone()), 2);
    // The commit that ended the snapshot is lost, and another takes its offsets.
    steps.extend([Step::LoseTail(1), put(9), put(10), Step::Restart]);
    assert_eq!(run(steps.clone()), 2);
    // Damaged.
    steps.truncate(steps.len() - 5);
    steps.extend([Step::Damage(70_000), Step::Restart]);
    assert_eq!(run(steps), 1);
}
