//! A log that the checkpoint or the journal know, and that is not there, is lost, not new.

use super::node::*;
use super::*;

const FILE: &str = "/data/flights-0/partition.metadata";
const CONTENT: &[u8] = b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAABw";

/// Damages the log `flights-0`; returns what puts it right.
type Damage = Box<dyn Fn(&SimFs) -> Vec<(String, Vec<u8>)>>;

fn damages() -> Vec<(&'static str, Damage)> {
    let with = |content: &'static [u8]| {
        move |fs: &SimFs| {
            assert_eq!(read(fs, FILE), CONTENT);
            write(fs, FILE, content);
            vec![(FILE.to_owned(), CONTENT.to_vec())]
        }
    };
    vec![
        (
            "no directory",
            Box::new(|fs| take_dir(fs, "/data/flights-0")),
        ),
        (
            "no file",
            Box::new(|fs| {
                fs.remove_file(Path::new(FILE)).unwrap();
                vec![(FILE.to_owned(), CONTENT.to_vec())]
            }),
        ),
        ("emptied", Box::new(with(b""))),
        (
            "unknown key",
            Box::new(with(b"version: 0\ntopjc_id: AAAAAAAAAAAAAAAAAAAABw")),
        ),
        (
            "cut",
            Box::new(with(b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAB")),
        ),
        (
            "another id",
            Box::new(with(b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAACw")),
        ),
    ]
}

#[test]
fn a_lost_log_is_not_made_anew_and_comes_back() {
    for flush in MODES {
        for stop in STOPS {
            for (what, damage) in damages() {
                let case = format!("{flush}, {stop:?}, {what}");
                let fs = node_with_logs(flush, stop, 3);
                let whole = damage(&fs);
                let (store, report) = open_node(&fs, flush).unwrap();
                let [problem] = &report.problems[..] else {
                    panic!("{case}: {:?}", report.problems);
                };
                let error = store.create_log(id(0), LogConfig::default()).unwrap_err();
                assert!(matches!(error, StoreError::Lost { .. }), "{case}: {error}");
                for said in [problem.to_string(), error.to_string()] {
                    let parts = match what {
                        "no directory" => ["/data/flights-0", "offsets 0 to 3", "copy of the disk"],
                        _ => [FILE, "`version: 0`", "`topic_id: AAAAAAAAAAAAAAAAAAAABw`"],
                    };
                    assert!(
                        parts.iter().all(|part| said.contains(part)),
                        "{case}: {said}"
                    );
                }
                // The others are served, and what is lost stays known over their checkpoints and starts.
                let log = store.get(&id(1).topic_id, 1).unwrap();
                check_records(&log);
                drop(log);
                store.checkpoint().unwrap();
                let mut fs = stopped(fs, store, Stop::Kill);
                for stop in STOPS {
                    let (store, report) = open_node(&fs, flush).unwrap();
                    assert_eq!(report.problems.len(), 1, "{case}");
                    assert_eq!(store.lost_logs().len(), 1, "{case}");
                    fs = stopped(fs, store, stop);
                }
                put_back(&fs, whole);
                check_whole(&fs, flush);
            }
        }
    }
}

#[test]
fn a_start_is_refused_when_the_journal_alone_has_records_of_a_lost_log() {
    for (what, damage) in damages() {
        let fs = node_with_logs(FlushMode::Journal, Stop::Kill, 2);
        let whole = damage(&fs);
        let error = refused(&fs, FlushMode::Journal);
        assert!(
            matches!(error, StoreError::LostChanges { .. }),
            "{what}: {error}"
        );
        let path = if what == "no directory" {
            "/data/flights-0"
        } else {
            FILE
        };
        assert!(error.to_string().contains(path), "{what}: {error}");
        put_back(&fs, whole);
        check_whole(&fs, FlushMode::Journal);
    }
}

#[test]
fn a_log_that_the_journal_has_whole_is_made_again_from_it() {
    for (what, damage) in damages() {
        let fs = node_with_logs(FlushMode::Journal, Stop::Kill, 4);
        damage(&fs);
        let (store, _) = open_node(&fs, FlushMode::Journal).unwrap();
        assert_eq!(store.lost_logs(), [], "{what}");
        check_records(&store.get(&id(0).topic_id, 0).unwrap());
    }
}

#[test]
fn a_lost_log_whose_topic_goes_is_forgotten_and_its_place_is_free() {
    for flush in MODES {
        for stop in STOPS {
            for (what, damage) in damages() {
                let fs = node_with_logs(flush, Stop::Close, 3);
                damage(&fs);
                let (store, _) = open_node(&fs, flush).unwrap();
                let other = LogId {
                    topic_id: Uuid::from_u128(9),
                    ..id(0)
                };
                let taken = store.create_log(other.clone(), LogConfig::default());
                assert!(
                    taken.is_err(),
                    "{flush}, {what}: it is the lost log's place"
                );
                store.delete_log(&id(0).topic_id, 0).unwrap();
                assert_eq!(store.lost_logs(), []);
                let log = store
                    .create_log(other.clone(), LogConfig::default())
                    .unwrap();
                flush_all(&store, &log, &["new"]);
                drop(log);
                let fs = stopped(fs, store, stop);
                let (store, report) = open_node(&fs, flush).unwrap();
                assert_eq!(report.problems, [], "{flush}, {what}");
                let log = store.get(&other.topic_id, 0).unwrap();
                assert_eq!(
                    values_from(&log, 0, Isolation::LogEnd),
                    [(0, "new".to_owned())]
                );
            }
        }
    }
}

#[test]
fn without_a_journal_a_creation_asks_for_a_checkpoint() {
    let fs = SimFs::new(1);
    let (store, _) = open_node(&fs, FlushMode::Os).unwrap();
    store.create_log(id(0), LogConfig::default()).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let knows = || {
        let file = NodeCheckpoint::read(&fs, Path::new("/data"))
            .unwrap()
            .unwrap();
        file.get(&(id(0).topic_id, 0)).is_some()
    };
    while !knows() {
        assert!(
            std::time::Instant::now() < deadline,
            "no checkpoint has come"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_checkpoint_of_the_former_version_is_read_and_gets_names() {
    let mut file = NodeCheckpoint::new(FlushMode::Journal);
    let rig = Rig::new(FlushMode::Journal);
    append(&rig.log(0), &["a"]);
    rig.store.checkpoint().unwrap();
    let known = rig.store.checkpoint.lock().clone();
    let key = (id(0).topic_id, 0);
    assert_eq!(known.topic(&key), Some("flights"));
    file.insert(key, "flights", known.get(&key).unwrap().clone());
    let former = file.encode_without_names();
    let path = Path::new("/data/millstream-checkpoint");
    write(&rig.fs, "/data/millstream-checkpoint", &former);
    let read_back = NodeCheckpoint::read(&*rig.fs, Path::new("/data"))
        .unwrap()
        .unwrap();
    assert_eq!(read_back.topic(&key), None);
    assert_eq!(read_back.get(&key), file.get(&key));
    let rig = rig.kill_and_reopen(1);
    assert_eq!(rig.log(0).offsets().log_end, 1);
    rig.store.checkpoint().unwrap();
    let bytes = rig.fs.read(path, 1 << 20).unwrap();
    assert!(bytes.starts_with(b"MSCKPT03"));
    assert_eq!(rig.store.checkpoint.lock().topic(&key), Some("flights"));
}
