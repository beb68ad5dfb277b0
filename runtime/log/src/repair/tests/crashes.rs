//! A repair that is killed, or whose power is cut, at any operation of the disk.

use std::ops::Range;

use super::*;
use crate::ReadError;
use crate::repair::RepairError;

/// What is damaged: segments by their number, and in each the batches by theirs.
type Wounds = &'static [(usize, &'static [usize])];

const ONE_SEGMENT: Wounds = &[(1, &[0, 2])];
const SEVERAL_SEGMENTS: Wounds = &[(0, &[1]), (2, &[0]), (3, &[1])];

/// A damaged disk, and the offsets that this costs by segment.
struct Wounded {
    scene: Scene,
    fs: Arc<SimFs>,
    lost: Vec<Vec<Range<i64>>>,
}

impl Wounded {
    fn new((mode, stop): (FlushMode, Stop), wounds: Wounds) -> Self {
        let scene = Scene::new(mode, stop);
        let fs = scene.disk();
        let mut lost = Vec::new();
        for (segment, numbers) in wounds {
            let (path, batches) = scene.batches.iter().nth(*segment).unwrap();
            let damage = |number: &usize| {
                let (position, first, next) = batches[*number];
                flip(&fs, path, position);
                first..next
            };
            lost.push(numbers.iter().map(damage).collect());
        }
        Self { scene, fs, lost }
    }

    /// The losses of the segments from one on.
    fn lost_from(&self, segment: usize) -> Vec<Range<i64>> {
        self.lost[segment..].concat()
    }

    /// How many segments are repaired: the others have their old damage, and nothing is given up without a note.
    fn repaired(&self, fs: &Arc<SimFs>, case: &str) -> usize {
        let shown = examine(&target(fs)).unwrap();
        let damaged: Vec<_> = shown.losses.into_iter().map(|loss| loss.offsets).collect();
        let repaired = (0..=self.lost.len()).find(|count| self.lost_from(*count) == damaged);
        let repaired = repaired.unwrap_or_else(|| panic!("{case}: {damaged:?}"));
        let noted: Vec<_> = shown.accepted.into_iter().map(|one| one.offsets).collect();
        assert!(
            noted == self.lost_from(0) || (noted.is_empty() && repaired == 0),
            "{case}: {repaired} segments are repaired, {noted:?} is noted"
        );
        repaired
    }

    /// A node that starts now refuses what is damaged, and serves all else.
    fn check_start(&self, fs: &Arc<SimFs>, repaired: usize, case: &str) {
        let (store, _) = open(fs, self.scene.mode);
        let log = store.create_log(id(0), small_segments()).unwrap();
        assert_eq!(log.offsets().log_end, self.scene.log_end(), "{case}");
        let (given_up, damaged) = (self.lost[..repaired].concat(), self.lost_from(repaired));
        let has = |ranges: &[Range<i64>], offset| ranges.iter().any(|one| one.contains(&offset));
        for (offset, value) in &self.scene.records {
            let read = log.read(*offset, 1, Isolation::LogEnd, true);
            if has(&damaged, *offset) {
                let error = read.expect_err(case);
                assert!(
                    matches!(error, ReadError::Corrupt { .. }),
                    "{case}: {error}"
                );
                continue;
            }
            let found = values_in(&read.expect(case).bytes);
            let expected = (!has(&given_up, *offset)).then_some(value);
            assert_eq!(found.get(offset), expected, "{case}: offset {offset}");
        }
    }
}

/// Stops the repair after so many operations, lets `crash` have the disk, and repairs it again. False when the repair
/// came to its end before.
fn stopped_after(
    operations: u64,
    (how, wounds): ((FlushMode, Stop), Wounds),
    crash: impl Fn(&SimFs) -> SimFs,
    case: &str,
) -> bool {
    let wounded = Wounded::new(how, wounds);
    wounded.fs.cut_power_after(operations);
    let is_over = repair(&target(&wounded.fs)).is_ok();
    // The same disk twice.
    let [fs, beside] = std::array::from_fn(|_| Arc::new(crash(&wounded.fs)));
    let repaired = wounded.repaired(&fs, case);
    assert!(!is_over || repaired == wounded.lost.len(), "{case}");
    wounded.check_start(&beside, repaired, case);
    match repair(&target(&fs)) {
        Ok(again) => assert_eq!(offsets_of(&again), wounded.lost_from(repaired), "{case}"),
        Err(RepairError::NothingDamaged { .. }) => {
            assert_eq!(repaired, wounded.lost.len(), "{case}");
        }
        Err(error) => panic!("{case}: {error}"),
    }
    // What was never synced, as a producer snapshot, may be lost with the power.
    let report = verified(&fs);
    let costs = |damage: &&crate::inspect::Damage| damage.offsets.is_some();
    assert_eq!(report.damages.iter().find(costs), None, "{case}");
    wounded.scene.check(&fs, &wounded.lost_from(0), case);
    !is_over
}

fn at_any_operation(stops: &[(FlushMode, Stop)], seeds: u64, crash: impl Fn(&SimFs, u64) -> SimFs) {
    for how in stops.iter().copied() {
        for wounds in [ONE_SEGMENT, SEVERAL_SEGMENTS] {
            let mut operations = 0;
            let mut goes_on = true;
            while goes_on {
                for seed in 0..seeds {
                    let case = format!("{how:?} {wounds:?}, {operations} operations, seed {seed}");
                    let crash = |fs: &SimFs| crash(fs, seed);
                    goes_on = stopped_after(operations, (how, wounds), crash, &case);
                }
                operations += 1;
            }
            assert!(operations > 60, "{operations}");
        }
    }
}

#[test]
fn a_kill_at_any_operation_leaves_each_segment_as_it_was_or_repaired() {
    at_any_operation(&ALL, 1, |fs, seed| fs.kill(seed));
}

#[test]
fn a_power_cut_at_any_operation_leaves_each_segment_as_it_was_or_repaired() {
    // What a killed node has not synced without a journal is nobody's to keep.
    at_any_operation(&ALL[..3], 2, |fs, seed| fs.power_cut(seed));
}
