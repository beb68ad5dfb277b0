//! What is missing is never taken for new: such a start is refused before anything is changed.

use super::node::*;
use super::*;

#[test]
fn partitions_without_a_checkpoint_are_refused_untouched() {
    for flush in MODES {
        for stop in STOPS {
            let fs = node_with_logs(flush, stop, 3);
            let path = Path::new("/data/millstream-checkpoint");
            let checkpoint = fs.read(path, 1 << 20).unwrap();
            fs.remove_file(path).unwrap();
            let error = refused(&fs, flush);
            match (flush, stop) {
                // Its entries are covered, but nothing says so any more.
                (FlushMode::Journal, Stop::Kill) => {
                    assert!(matches!(error, StoreError::JournalAlone { .. }), "{error}");
                }
                _ => {
                    let said = "(__cluster_metadata-0, flights-0, flights-1)";
                    assert!(error.to_string().contains(said), "{error}");
                    assert!(matches!(error, StoreError::NoCheckpoint { .. }), "{error}");
                }
            }
            assert!(
                error.to_string().contains("millstream-checkpoint"),
                "{error}"
            );
            write(&fs, "/data/millstream-checkpoint", &checkpoint);
            check_whole(&fs, flush);
        }
    }
}

#[test]
fn a_directory_of_another_program_is_refused_and_gets_no_lock() {
    for flush in MODES {
        let fs = SimFs::new(1);
        write(
            &fs,
            "/data/flights-0/partition.metadata",
            b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n",
        );
        write(
            &fs,
            "/data/flights-0/00000000000000000000.log",
            &batch_of(&["theirs"], None, false),
        );
        write(&fs, "/data/my-delete/letter", b"dear");
        write(&fs, "/data/.kafka_cleanshutdown", b"");
        let error = refused(&fs, flush);
        assert!(matches!(error, StoreError::NoCheckpoint { .. }), "{error}");
        assert!(
            error.to_string().contains("data directory of its own"),
            "{error}"
        );
    }
}

#[test]
fn a_journal_without_a_checkpoint_is_refused() {
    // The checkpoint of the start knows no log yet.
    let fs = node_with_logs(FlushMode::Journal, Stop::Kill, 4);
    let checkpoint = read(&fs, "/data/millstream-checkpoint");
    fs.remove_file(Path::new("/data/millstream-checkpoint"))
        .unwrap();
    for log in [
        "/data/__cluster_metadata-0",
        "/data/flights-0",
        "/data/flights-1",
    ] {
        remove_dir(&fs, log);
    }
    for flush in MODES {
        let error = refused(&fs, flush);
        assert!(matches!(error, StoreError::JournalAlone { .. }), "{error}");
    }
    write(&fs, "/data/millstream-checkpoint", &checkpoint);
    check_whole(&fs, FlushMode::Journal);
}

/// Damages the metadata log; returns what puts it right.
type Damage = Box<dyn Fn(&SimFs) -> Vec<(String, Vec<u8>)>>;

#[test]
fn partitions_without_metadata_are_refused_untouched() {
    let with_log = |change: fn(&mut Vec<u8>)| {
        move |fs: &SimFs| {
            let whole = read(fs, METADATA_LOG);
            let mut bytes = whole.clone();
            change(&mut bytes);
            write(fs, METADATA_LOG, &bytes);
            vec![(METADATA_LOG.to_owned(), whole)]
        }
    };
    let flip_last: fn(&mut Vec<u8>) = |bytes| *bytes.last_mut().unwrap() ^= 1;
    let flip_first_offset: fn(&mut Vec<u8>) = |bytes| bytes[7] ^= 1;
    let damages: [(&str, Damage); 6] = [
        (
            "no directory",
            Box::new(|fs| take_dir(fs, "/data/__cluster_metadata-0")),
        ),
        (
            "no file",
            Box::new(|fs| {
                let whole = read(fs, METADATA_LOG);
                fs.remove_file(Path::new(METADATA_LOG)).unwrap();
                vec![(METADATA_LOG.to_owned(), whole)]
            }),
        ),
        ("emptied", Box::new(with_log(Vec::clear))),
        (
            "cut",
            Box::new(with_log(|bytes| bytes.truncate(bytes.len() - 1))),
        ),
        ("a bit of the last record", Box::new(with_log(flip_last))),
        (
            "a bit of the first offset",
            Box::new(with_log(flip_first_offset)),
        ),
    ];
    for flush in MODES {
        for stop in STOPS {
            for (what, damage) in &damages {
                let fs = node_with_logs(flush, stop, 3);
                let whole = damage(&fs);
                let error = refused(&fs, flush);
                assert!(
                    matches!(error, StoreError::NoMetadata { .. }),
                    "{flush}, {stop:?}, {what}: {error}"
                );
                assert!(
                    error.to_string().contains("__cluster_metadata-0"),
                    "{error}"
                );
                put_back(&fs, whole);
                check_whole(&fs, flush);
            }
        }
    }
}

#[test]
fn metadata_that_the_journal_has_whole_are_made_again_from_it() {
    let fs = node_with_logs(FlushMode::Journal, Stop::Kill, 4);
    remove_dir(&fs, "/data/__cluster_metadata-0");
    check_whole(&fs, FlushMode::Journal);
}

#[test]
fn a_first_start_may_be_cut_short_anywhere() {
    for flush in MODES {
        for operations in 0.. {
            let fs = SimFs::new(operations);
            fs.cut_power_after(operations);
            let first = open_node(&fs, flush).and_then(|(store, _)| {
                let log = store.create_log(metadata_log(), LogConfig::default())?;
                let _ = try_append(&log, &["node"]);
                Ok(())
            });
            let is_over = first.is_ok();
            let next = match operations % 2 {
                0 => fs.kill(operations),
                _ => fs.power_cut(operations),
            };
            let again = open_node(&next, flush);
            assert!(
                again.is_ok(),
                "{flush}, {operations}: {}",
                again.unwrap_err()
            );
            if is_over {
                assert!(operations > 8, "{operations}");
                break;
            }
        }
    }
}

#[test]
fn the_metadata_logs_own_name_is_written_again() {
    let sound = b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ";
    let damaged: [Option<&[u8]>; 5] = [
        None,
        Some(b""),
        Some(b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAA"),
        Some(b"version: 0\ntopic_id: BAAAAAAAAAAAAAAAAAAAAQ"),
        Some(b"\xff\xfe"),
    ];
    for flush in MODES {
        for stop in STOPS {
            for content in damaged {
                let fs = node_with_logs(flush, stop, 3);
                assert_eq!(read(&fs, METADATA_FILE), sound);
                match content {
                    Some(content) => write(&fs, METADATA_FILE, content),
                    None => fs.remove_file(Path::new(METADATA_FILE)).unwrap(),
                }
                let (store, report) = open_node(&fs, flush).unwrap();
                assert_eq!(read(&fs, METADATA_FILE), sound);
                let [problem] = &report.problems[..] else {
                    panic!("{:?}", report.problems);
                };
                assert_eq!(problem.path, Path::new(METADATA_FILE));
                drop(store);
                check_whole(&fs.power_cut(1), flush);
            }
        }
    }
}

#[test]
fn a_directory_that_has_lost_its_owner_is_refused() {
    for flush in MODES {
        for stop in STOPS {
            let fs = node_with_logs(flush, stop, 1);
            let meta = read(&fs, "/data/meta.properties");
            fs.remove_file(Path::new("/data/meta.properties")).unwrap();
            let error = refused(&fs, flush);
            assert!(matches!(error, StoreError::NoOwner { .. }), "{error}");
            for part in [
                "/data/meta.properties",
                "version=1, cluster.id=",
                ", node.id=1, ",
            ] {
                assert!(error.to_string().contains(part), "{error}");
            }
            write(&fs, "/data/meta.properties", &meta);
            check_whole(&fs, flush);
        }
    }
}

#[test]
fn a_copy_of_a_log_beside_it_is_refused() {
    for flush in MODES {
        let fs = node_with_logs(flush, Stop::Close, 3);
        for file in ["partition.metadata", "00000000000000000000.log"] {
            let bytes = read(&fs, &format!("/data/flights-0/{file}"));
            write(&fs, &format!("/data/backup-0/{file}"), &bytes);
        }
        let error = refused(&fs, flush);
        for part in ["/data/backup-0", "/data/flights-0"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        remove_dir(&fs, "/data/backup-0");
        check_whole(&fs, flush);
    }
}

#[test]
fn a_damaged_checkpoint_is_refused_untouched() {
    let fs = node_with_logs(FlushMode::Journal, Stop::Kill, 1);
    fs.damage(Path::new("/data/millstream-checkpoint"), 40, &[0xff]);
    let (before, operations) = (snapshot(&fs), fs.operations());
    let error = open_node(&fs, FlushMode::Journal).unwrap_err();
    assert!(
        matches!(error, StoreError::DamagedCheckpoint { .. }),
        "{error}"
    );
    assert!(snapshot(&fs) == before && fs.operations() == operations);
}

#[test]
fn the_metadata_log_has_one_name_and_one_id() {
    let fs = SimFs::new(1);
    let (store, _) = open_node(&fs, FlushMode::Journal).unwrap();
    let own = metadata_log();
    store.create_log(own.clone(), LogConfig::default()).unwrap();
    let others = [
        LogId {
            topic_id: Uuid::from_u128(9),
            ..own.clone()
        },
        LogId {
            partition: 1,
            ..own.clone()
        },
        LogId {
            topic: "flights".to_owned(),
            ..own.clone()
        },
    ];
    for other in others {
        let error = store.create_log(other, LogConfig::default()).unwrap_err();
        assert!(matches!(error, StoreError::Taken { .. }), "{error}");
    }
    assert!(fs.exists(Path::new(METADATA_FILE)).unwrap());
    assert_eq!(dirs(&fs), ["__cluster_metadata-0", "journal"]);
}

#[test]
fn another_logs_directory_is_not_taken_from_it() {
    let rig = Rig::new(FlushMode::Journal);
    append(&rig.log(0), &["mine"]);
    let other = LogId {
        topic_id: Uuid::from_u128(9),
        ..id(0)
    };
    let error = rig
        .store
        .create_log(other, LogConfig::default())
        .unwrap_err();
    assert!(matches!(error, StoreError::Taken { .. }), "{error}");
    assert_eq!(dirs(&rig.fs), ["flights-0", "journal"]);
}

#[test]
fn a_journal_that_has_lost_a_file_is_refused_untouched() {
    let journal_files = |fs: &SimFs| -> Vec<String> {
        let entries = fs.read_dir(Path::new("/data/journal")).unwrap();
        let names = entries.into_iter().map(|entry| entry.name);
        names.filter(|name| name.ends_with(".journal")).collect()
    };
    // The journal has all, in several files; the checkpoint of the start knows no log.
    let fs = SimFs::new(1);
    let small = StoreOptions {
        journal_file_bytes_max: 16 << 10,
        ..node_options(&fs, FlushMode::Journal)
    };
    let (store, _) = LogStore::open(small).unwrap();
    for id in [metadata_log(), id(0), id(1)] {
        let log = store.create_log(id, LogConfig::default()).unwrap();
        for number in 0..3 {
            flush_all(&store, &log, &[&format!("record {number}")]);
        }
    }
    let filler = store.create_log(id(9), LogConfig::default()).unwrap();
    let noted = || {
        let bytes = read(&fs, "/data/journal.files");
        u64::from_le_bytes(bytes[16..24].try_into().unwrap())
    };
    while noted() < 4 {
        flush_all(&store, &filler, &[&"x".repeat(3000)]);
    }
    drop(filler);
    let fs = stopped(fs, store, Stop::Kill);
    let whole = snapshot(&fs);
    for name in journal_files(&fs) {
        let path = format!("/data/journal/{name}");
        let bytes = read(&fs, &path);
        fs.remove_file(Path::new(&path)).unwrap();
        let (before, operations) = (snapshot(&fs), fs.operations());
        let error = open_node(&fs, FlushMode::Journal).unwrap_err().to_string();
        assert!(
            error.contains("missing") && error.contains("/data/journal"),
            "{name}: {error}"
        );
        assert!(
            snapshot(&fs) == before && fs.operations() == operations,
            "{name}"
        );
        write(&fs, &path, &bytes);
        assert!(snapshot(&fs) == whole);
    }
    let files = take_dir(&fs, "/data/journal");
    let error = open_node(&fs, FlushMode::Journal).unwrap_err().to_string();
    assert!(error.contains("/data/journal/"), "{error}");
    put_back(&fs, files);
    // Without its note nothing is missed, and nothing is missing.
    fs.remove_file(Path::new("/data/journal.files")).unwrap();
    check_whole(&fs, FlushMode::Journal);
}

#[test]
fn a_journal_that_has_lost_its_only_file_in_use_is_refused_untouched() {
    let fs = node_with_logs(FlushMode::Journal, Stop::Kill, 4);
    let path = "/data/journal/00000000000000000001.journal";
    let bytes = read(&fs, path);
    fs.remove_file(Path::new(path)).unwrap();
    let (before, operations) = (snapshot(&fs), fs.operations());
    let error = open_node(&fs, FlushMode::Journal).unwrap_err().to_string();
    assert!(
        error.contains(path) && error.contains("journal.files"),
        "{error}"
    );
    assert!(snapshot(&fs) == before && fs.operations() == operations);
    write(&fs, path, &bytes);
    check_whole(&fs, FlushMode::Journal);
}
