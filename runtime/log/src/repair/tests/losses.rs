//! What is given up, and what is not.

use super::*;
use crate::CleanupPolicy;
use crate::segment::{SegmentFile, path_of};

#[test]
fn a_damaged_batch_is_given_up_and_all_else_stays() {
    for (mode, stop) in ALL {
        let scene = Scene::new(mode, stop);
        for (path, batches) in &scene.batches {
            for (position, first, next) in batches {
                let case = format!("{mode} {stop:?}: {} at {position}", path.display());
                let fs = scene.disk();
                flip(&fs, path, *position);
                let damaged = fs.read(path, 1 << 20).unwrap();
                let shown = examine(&target(&fs)).unwrap();
                assert!(!shown.is_open && shown.accepted.is_empty(), "{case}");
                if *first >= scene.synced_end {
                    assert_eq!(shown.losses, [], "{case}: a start deals with it");
                    continue;
                }
                let [loss] = &shown.losses[..] else {
                    panic!("{case}: {shown:?}");
                };
                assert_eq!((&loss.path, loss.position), (path, *position), "{case}");
                assert_eq!(loss.offsets, *first..*next, "{case}");
                assert_eq!(loss.before_ms.is_some(), *first > 0, "{case}");
                let repaired = repair(&target(&fs)).unwrap();
                assert_eq!(repaired.losses, shown.losses, "{case}");
                let [copy] = &repaired.copies[..] else {
                    panic!("{case}: {repaired:?}");
                };
                let copied = fs.read(copy, 1 << 20).unwrap();
                assert!(damaged.starts_with(&copied), "{case}");
                let report = verified(&fs);
                assert_eq!(report.damages, [], "{case}");
                let [(dir, accepted)] = &report.accepted[..] else {
                    panic!("{case}: {report:?}");
                };
                assert_eq!(dir, Path::new(PARTITION), "{case}");
                assert_eq!(accepted.offsets, *first..*next, "{case}");
                assert_eq!(accepted.accepted_ms, NOW_MS, "{case}");
                scene.check(&fs, std::slice::from_ref(&loss.offsets), &case);
            }
        }
    }
}

#[test]
fn a_file_that_is_gone_or_short_costs_its_offsets() {
    for (mode, stop) in ALL {
        let scene = Scene::new(mode, stop);
        for (path, batches) in &scene.batches {
            let (first, next) = (batches[0].1, batches[batches.len() - 1].2);
            if next > scene.synced_end {
                continue;
            }
            let last = *batches.last().unwrap();
            for (what, lost) in [
                ("gone", first..next),
                ("empty", first..next),
                ("short", last.1..last.2),
                ("without its last batch", last.1..last.2),
            ] {
                let case = format!("{mode} {stop:?}: {} {what}", path.display());
                let fs = scene.disk();
                let file = fs.open(path, OpenMode::ReadWrite).unwrap();
                match what {
                    "gone" => fs.remove_file(path).unwrap(),
                    "empty" => file.set_len(0).unwrap(),
                    "short" => file.set_len(file.len().unwrap() - 1).unwrap(),
                    _ => file.set_len(last.0).unwrap(),
                }
                drop(file);
                let shown = examine(&target(&fs)).unwrap();
                let offsets: Vec<_> = shown.losses.iter().map(|one| &one.offsets).collect();
                assert_eq!(offsets, [&lost], "{case}: {:?}", shown.losses);
                let repaired = repair(&target(&fs)).expect(&case);
                assert_eq!(offsets_of(&repaired), std::slice::from_ref(&lost), "{case}");
                assert_eq!(repaired.copies.is_empty(), what == "gone", "{case}");
                assert_eq!(verified(&fs).damages, [], "{case}");
                scene.check(&fs, &[lost], &case);
            }
        }
    }
}

#[test]
fn damage_in_many_places_is_given_up_at_once() {
    let scene = Scene::new(FlushMode::Journal, Stop::Closed);
    let fs = scene.disk();
    let mut lost = Vec::new();
    for (path, batches) in &scene.batches {
        for (position, first, next) in [batches[0], *batches.last().unwrap()] {
            flip(&fs, path, position);
            lost.push(first..next);
        }
    }
    let repaired = repair(&target(&fs)).unwrap();
    assert_eq!(repaired.copies.len(), scene.batches.len());
    let joined = |ranges: &[std::ops::Range<i64>]| -> Vec<i64> {
        ranges.iter().cloned().flatten().collect()
    };
    assert_eq!(joined(&offsets_of(&repaired)), joined(&lost));
    assert_eq!(verified(&fs).damages, []);
    scene.check(&fs, &offsets_of(&repaired), "many places");
}

#[test]
fn a_second_damage_is_given_up_beside_the_first() {
    let scene = Scene::new(FlushMode::Journal, Stop::Closed);
    let fs = scene.disk();
    let (path, batches) = scene.batches.iter().next().unwrap();
    let (position, first, next) = batches[1];
    flip(&fs, path, position);
    let one = repair(&target(&fs)).unwrap();
    flip(&fs, path, batches[0].0);
    let other = repair(&target(&fs)).unwrap();
    assert_ne!(one.copies, other.copies);
    assert!(one.copies.iter().all(|copy| fs.exists(copy).unwrap()));
    let lost = [batches[0].1..batches[0].2, first..next];
    scene.check(&fs, &lost, "twice");
}

#[test]
fn a_log_is_cut_and_compacted_after_a_repair_as_any_other() {
    let scene = Scene::new(FlushMode::Os, Stop::Closed);
    let fs = scene.disk();
    let (path, batches) = scene.batches.iter().nth(1).unwrap();
    flip(&fs, path, batches[0].0);
    let lost = batches[0].1..batches[0].2;
    repair(&target(&fs)).unwrap();
    let (store, _) = open(&fs, scene.mode);
    let compacted = LogConfig {
        cleanup: CleanupPolicy {
            delete: false,
            compact: true,
        },
        min_cleanable_dirty_ratio: 0.0,
        ..small_segments()
    };
    let log = store.create_log(id(0), compacted).unwrap();
    log.roll_active().unwrap();
    store.checkpoint().unwrap();
    assert!(store.clean_dirtiest().unwrap().is_some());
    assert_eq!(log.accepted_losses().len(), 1);
    log.truncate_to(lost.start + 1).unwrap();
    let offsets: Vec<_> = log
        .accepted_losses()
        .into_iter()
        .map(|one| one.offsets)
        .collect();
    let left = lost.start..log.offsets().log_end;
    assert_eq!(offsets, Vec::from_iter((!left.is_empty()).then_some(left)));
    log.truncate_to(lost.start).unwrap();
    assert_eq!(log.accepted_losses(), []);
    drop((log, store));
    let fs = Arc::new(fs.kill(1));
    let (store, _) = open(&fs, scene.mode);
    let log = store.create_log(id(0), small_segments()).unwrap();
    assert_eq!(log.accepted_losses(), []);
}

#[test]
fn a_damaged_note_of_losses_refuses_the_start_and_says_which_file() {
    let scene = Scene::new(FlushMode::Journal, Stop::Closed);
    let fs = scene.disk();
    let (path, batches) = scene.batches.iter().next().unwrap();
    flip(&fs, path, batches[0].0);
    repair(&target(&fs)).unwrap();
    let note = Path::new(PARTITION).join("accepted-losses");
    fs.damage(&note, 4, b"x");
    let error = LogStore::open(options(&fs, &clock(), scene.mode)).unwrap_err();
    assert!(
        error.to_string().contains("flights-0/accepted-losses"),
        "{error}"
    );
    assert_eq!(verified(&fs).damages.len(), 1);
    fs.remove_file(&note).unwrap();
    open(&fs, scene.mode);
}

#[test]
fn what_was_copied_stays_until_somebody_removes_it() {
    let scene = Scene::new(FlushMode::Journal, Stop::Closed);
    let fs = scene.disk();
    let (path, batches) = scene.batches.iter().next().unwrap();
    flip(&fs, path, batches[0].0);
    let copies = repair(&target(&fs)).unwrap().copies;
    let (store, _) = open(&fs, scene.mode);
    store.close_blocking().unwrap();
    drop(store);
    assert_eq!(
        copies,
        [path_of(Path::new(PARTITION), 0, SegmentFile::Log).with_extension("log.0.damaged")]
    );
    assert!(fs.exists(&copies[0]).unwrap());
    let left = fs.read_dir(Path::new(PARTITION)).unwrap();
    let is_odd = |name: &str| {
        [".cleaned", ".swap", ".deleted", ".tmp"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    assert!(!left.iter().any(|entry| is_odd(&entry.name)), "{left:?}");
}
