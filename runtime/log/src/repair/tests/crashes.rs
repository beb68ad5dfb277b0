//! A repair that is killed, or whose power is cut, at any moment.

use super::*;
use crate::repair::RepairError;

/// A disk with damage in two places of one segment, and which offsets that costs.
fn damaged(mode: FlushMode, stop: Stop) -> (Scene, Arc<SimFs>, Vec<std::ops::Range<i64>>) {
    let scene = Scene::new(mode, stop);
    let fs = scene.disk();
    let (path, batches) = scene.batches.iter().nth(1).unwrap();
    let mut lost = Vec::new();
    for (position, first, next) in [batches[0], batches[2]] {
        flip(&fs, path, position);
        lost.push(first..next);
    }
    (scene, fs, lost)
}

/// Stops the repair after so many operations, lets `crash` have the disk, and repairs it again. False when the repair
/// came to its end before.
fn stopped_after(
    operations: u64,
    (mode, stop): (FlushMode, Stop),
    crash: impl Fn(&SimFs) -> SimFs,
    case: &str,
) -> bool {
    let (scene, fs, lost) = damaged(mode, stop);
    fs.cut_power_after(operations);
    let is_over = repair(&target(&fs)).is_ok();
    let fs = Arc::new(crash(&fs));
    let shown = examine(&target(&fs)).unwrap();
    let has_all = shown
        .losses
        .iter()
        .map(|loss| loss.offsets.clone())
        .eq(lost.clone());
    let has_none = shown.losses.is_empty();
    let is_between = fs
        .read_dir(Path::new(PARTITION))
        .unwrap()
        .iter()
        .any(|entry| entry.name.ends_with(".swap"));
    assert!(has_all || has_none || is_between, "{case}: {shown:?}");
    if is_over || has_none {
        let noted: Vec<_> = shown
            .accepted
            .iter()
            .map(|loss| loss.offsets.clone())
            .collect();
        assert_eq!(noted, lost, "{case}: given up without a note");
    }
    if operations % 3 == 0 {
        // A start in between sees the old damage or none.
        let (store, _) = open(&fs, mode);
        let log = store.create_log(id(0), small_segments()).unwrap();
        let found: Vec<_> = log.look_for_damage().unwrap();
        assert!(found.len() <= 1, "{case}");
        if found.is_empty() {
            assert_eq!(log.accepted_losses().len(), lost.len(), "{case}");
        }
    }
    match repair(&target(&fs)) {
        Ok(repaired) => assert_eq!(offsets_of(&repaired), lost, "{case}"),
        Err(RepairError::NothingDamaged { accepted, .. }) => {
            assert_eq!(accepted.len(), lost.len(), "{case}");
        }
        Err(error) => panic!("{case}: {error}"),
    }
    // What was never synced, as a producer snapshot, may be lost with the power.
    let report = verified(&fs);
    let costs = |damage: &&crate::inspect::Damage| damage.offsets.is_some();
    assert_eq!(report.damages.iter().find(costs), None, "{case}");
    scene.check(&fs, &lost, case);
    !is_over
}

fn at_any_moment(stops: &[(FlushMode, Stop)], seeds: u64, crash: impl Fn(&SimFs, u64) -> SimFs) {
    for (mode, stop) in stops.iter().copied() {
        let mut operations = 0;
        let mut goes_on = true;
        while goes_on {
            for seed in 0..seeds {
                let case = format!("{mode} {stop:?}, {operations} operations, seed {seed}");
                let crash = |fs: &SimFs| crash(fs, seed);
                goes_on = stopped_after(operations, (mode, stop), crash, &case);
            }
            operations += 1;
        }
        assert!(operations > 60, "{operations}");
    }
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_damage_or_none() {
    at_any_moment(&ALL, 1, |fs, seed| fs.kill(seed));
}

#[test]
fn a_power_cut_at_any_moment_leaves_the_old_damage_or_none() {
    // What a killed node has not synced without a journal is nobody's to keep.
    at_any_moment(&ALL[..3], 3, |fs, seed| fs.power_cut(seed));
}
