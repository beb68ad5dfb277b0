//! What is not repaired, and that nothing is changed then.

use std::io::ErrorKind;

use super::*;
use crate::repair::{RepairError, repair_command};
use crate::testing::{Fault, FaultyCall};

/// All files and what they hold.
fn content(fs: &SimFs) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs.files_below(Path::new("/")).unwrap();
    let read = |path: PathBuf| (path.clone(), fs.read(&path, 1 << 30).unwrap());
    paths.into_iter().map(read).collect()
}

fn damaged() -> (Scene, Arc<SimFs>) {
    let scene = Scene::new(FlushMode::Journal, Stop::Closed);
    let fs = scene.disk();
    let (path, batches) = scene.batches.iter().next().unwrap();
    flip(&fs, path, batches[1].0);
    (scene, fs)
}

#[test]
fn an_examination_changes_nothing() {
    for (mode, stop) in ALL {
        let scene = Scene::new(mode, stop);
        let fs = scene.disk();
        let (path, batches) = scene.batches.iter().next().unwrap();
        flip(&fs, path, batches[1].0);
        let before = content(&fs);
        assert_eq!(examine(&target(&fs)).unwrap().losses.len(), 1);
        assert_eq!(content(&fs), before);
    }
}

#[test]
fn a_node_that_runs_keeps_its_directory() {
    let (_, fs) = damaged();
    let (store, _) = open(&fs, FlushMode::Journal);
    let shown = examine(&target(&fs)).unwrap();
    assert!(shown.is_open && shown.losses.len() == 1, "{shown:?}");
    let error = repair(&target(&fs)).unwrap_err();
    assert!(matches!(error, RepairError::Locked { .. }), "{error}");
    drop(store);
    repair(&target(&fs)).unwrap();
}

#[test]
fn a_log_that_is_not_there_is_named_and_nothing_is_opened() {
    let (_, fs) = damaged();
    let before = content(&fs);
    for log in ["flights-1", "flights", "-0", "journal", "../data/flights-0"] {
        let target = RepairTarget {
            log: log.to_owned(),
            ..target(&fs)
        };
        for error in [repair(&target).unwrap_err(), examine(&target).unwrap_err()] {
            assert!(matches!(error, RepairError::UnknownLog { .. }), "{error}");
            assert!(error.to_string().contains(log), "{error}");
        }
    }
    assert_eq!(content(&fs), before);
}

#[test]
fn a_directory_that_no_node_has_written_is_left_alone() {
    for file in ["/data/millstream-checkpoint", "/data/meta.properties"] {
        let (_, fs) = damaged();
        fs.remove_file(Path::new(file)).unwrap();
        let before = content(&fs);
        let error = repair(&target(&fs)).unwrap_err();
        assert!(matches!(error, RepairError::NotANode { .. }), "{error}");
        assert_eq!(content(&fs), before);
    }
}

#[test]
fn what_is_sound_is_not_repaired() {
    let scene = Scene::new(FlushMode::Journal, Stop::Closed);
    let fs = scene.disk();
    let error = repair(&target(&fs)).unwrap_err();
    let RepairError::NothingDamaged { accepted, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(accepted, []);
    scene.check(&fs, &[], "sound");
}

#[test]
fn without_room_nothing_is_given_up() {
    let mut refused = 0;
    // Some writes are of files that a log can do without.
    for nth in 1..=25 {
        let (scene, fs) = damaged();
        fs.inject(Fault {
            call: FaultyCall::Write,
            path_contains: "flights-0/".to_owned(),
            nth,
            kind: ErrorKind::StorageFull,
        });
        let repaired = repair(&target(&fs));
        let fs = Arc::new(fs.kill(1));
        let shown = examine(&target(&fs)).unwrap();
        let expected = usize::from(repaired.is_err());
        assert_eq!(shown.losses.len(), expected, "write {nth}: {repaired:?}");
        assert_eq!(shown.accepted.len(), 1 - expected, "write {nth}");
        let repaired = match repaired {
            Ok(repaired) => repaired,
            Err(_) => {
                refused += 1;
                repair(&target(&fs)).unwrap()
            }
        };
        scene.check(&fs, &offsets_of(&repaired), &format!("write {nth}"));
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn the_command_is_one_that_a_shell_understands() {
    let command = |dir: &str| repair_command(Path::new(dir));
    assert_eq!(
        command("/var/data/__consumer_offsets-7"),
        "millstream log repair /var/data --log __consumer_offsets-7"
    );
    assert_eq!(
        command("/it's mine/a-0"),
        r"millstream log repair '/it'\''s mine' --log a-0"
    );
}
