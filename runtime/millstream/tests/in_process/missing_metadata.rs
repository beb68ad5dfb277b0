//! What is missing on the disk deletes nothing: neither the name of the metadata log, nor topics that the metadata have
//! never heard of, nor another program's directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millstream_log::fs::{FileSystem, OpenMode};
use millstream_log::testing::SimFs;
use millstream_log::{FlushMode, Isolation, StoreOptions};
use millstream_records::{BatchBuilder, BatchOptions, batches};
use millstream_wire::ErrorCode;

use crate::rig::Rig;

const MODES: [FlushMode; 2] = [FlushMode::Journal, FlushMode::Os];

fn options(fs: &SimFs, flush: FlushMode) -> StoreOptions {
    let mut options = StoreOptions::new("/data", flush);
    options.fs = Arc::new(fs.clone());
    options.journal_file_bytes_max = 64 << 10;
    options
}

async fn start(fs: &SimFs, flush: FlushMode) -> Rig {
    let started = Rig::over(options(fs, flush)).await;
    started.unwrap_or_else(|error| panic!("{flush}: {error}"))
}

/// Appends a record and waits until it is acknowledged; its offset.
async fn append(rig: &Rig, topic: &str, value: &str) -> Result<i64, ErrorCode> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(1, None, Some(value.as_bytes()), []).unwrap();
    let mut batch = builder.build().unwrap();
    let info = rig.local.topic(topic);
    let topic_id = info.ok_or(ErrorCode::UnknownTopicOrPartition)?.id;
    let appended = rig
        .local
        .append(None, &topic_id, 0, &mut batch, Duration::ZERO)
        .await?;
    rig.local.partition(topic, 0)?.flushed(&appended).await?;
    Ok(appended.base_offset)
}

/// What partition 0 of a topic holds.
fn values(rig: &Rig, topic: &str) -> Result<Vec<String>, ErrorCode> {
    let read = rig
        .local
        .partition(topic, 0)?
        .read(0, 1 << 20, Isolation::Uncommitted)?;
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap()).into_owned();
    let mut found = Vec::new();
    for batch in batches(&read.bytes) {
        for record in batch.unwrap().records(1 << 20).unwrap().iter() {
            found.push(text(record.unwrap().value));
        }
    }
    Ok(found)
}

/// A node with two topics of one record each, stopped cleanly or killed.
async fn node(flush: FlushMode, closes: bool) -> SimFs {
    let fs = SimFs::new(1);
    let rig = start(&fs, flush).await;
    for topic in ["flights", "words"] {
        rig.create_topic(topic, 1).await.unwrap();
        append(&rig, topic, topic).await.unwrap();
    }
    rig.store.checkpoint().unwrap();
    stop(rig, fs, closes).await
}

async fn stop(rig: Rig, fs: SimFs, closes: bool) -> SimFs {
    if closes {
        rig.close().await;
        return fs;
    }
    let next = fs.kill(1);
    rig.broker.shutdown(Duration::ZERO).await;
    next
}

/// Both topics have their record, and take the next one behind it.
async fn check_whole(rig: &Rig) {
    for topic in ["flights", "words"] {
        assert_eq!(values(rig, topic).unwrap(), [topic]);
        assert_eq!(append(rig, topic, "next").await.unwrap(), 1);
    }
}

fn names(fs: &SimFs) -> Vec<String> {
    let entries = fs.read_dir(Path::new("/data")).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[tokio::test]
async fn a_flipped_bit_in_the_metadatas_name_deletes_nothing() {
    let path = Path::new("/data/__cluster_metadata-0/partition.metadata");
    for flush in MODES {
        for closes in [true, false] {
            let stopped = node(flush, closes).await;
            let content = stopped.read(path, 100).unwrap();
            for bit in 0..8 * content.len() {
                let fs = stopped.kill(bit as u64);
                let flipped = content[bit / 8] ^ (1 << (bit % 8));
                fs.damage(path, bit as u64 / 8, &[flipped]);
                let rig = start(&fs, flush).await;
                check_whole(&rig).await;
                assert_eq!(fs.read(path, 100).unwrap(), content, "bit {bit}");
                rig.close().await;
            }
        }
    }
}

#[tokio::test]
async fn a_log_that_the_metadata_do_not_know_is_set_aside() {
    for flush in MODES {
        for closes in [true, false] {
            let fs = node(flush, true).await;
            let other = node(flush, true).await;
            // A topic of another node, with an id of its own and more partitions than this one's has.
            for (from, to) in [("flights-0", "theirs-0"), ("words-0", "words-3")] {
                let (from, to) = (format!("/data/{from}"), format!("/data/{to}"));
                fs.create_dir_all(Path::new(&to)).unwrap();
                for entry in other.read_dir(Path::new(&from)).unwrap() {
                    let bytes = other
                        .read(&Path::new(&from).join(&entry.name), 1 << 20)
                        .unwrap();
                    let file = fs
                        .open(&Path::new(&to).join(&entry.name), OpenMode::Create)
                        .unwrap();
                    file.write_at(&bytes, 0).unwrap();
                }
            }
            let rig = start(&fs, flush).await;
            check_whole(&rig).await;
            let names = names(&fs);
            for (name, value) in [("theirs-0", "flights"), ("words-3", "words")] {
                let aside = names
                    .iter()
                    .find(|found| found.starts_with(&format!("{name}.")));
                let aside = aside.unwrap_or_else(|| panic!("{flush}: {names:?}"));
                assert!(aside.ends_with("-stray"), "{aside}");
                assert!(!names.contains(&name.to_owned()), "{names:?}");
                let log = format!("/data/{aside}/00000000000000000000.log");
                let bytes = fs.read(Path::new(&log), 1 << 20).unwrap();
                let contains = bytes
                    .windows(value.len())
                    .any(|part| part == value.as_bytes());
                assert!(contains, "{flush}: {aside} has lost its records");
            }
            let fs = stop(rig, fs, closes).await;
            // Once: the next start has nothing to say of it.
            let before = self::names(&fs)
                .iter()
                .filter(|name| name.ends_with("-stray"))
                .count();
            let rig = start(&fs, flush).await;
            assert_eq!(values(&rig, "flights").unwrap(), ["flights", "next"]);
            let after = self::names(&fs)
                .iter()
                .filter(|name| name.ends_with("-stray"))
                .count();
            assert_eq!((before, after), (2, 2));
            rig.close().await;
        }
    }
}

#[tokio::test]
async fn a_lost_partition_answers_with_a_storage_error_until_it_is_back() {
    let path = Path::new("/data/flights-0/partition.metadata");
    for flush in MODES {
        for closes in [true, false] {
            let fs = node(flush, closes).await;
            let content = fs.read(path, 100).unwrap();
            fs.damage(path, 30, &[content[30] ^ 1]);
            let rig = start(&fs, flush).await;
            assert_eq!(values(&rig, "flights"), Err(ErrorCode::KafkaStorageError));
            assert_eq!(
                append(&rig, "flights", "x").await,
                Err(ErrorCode::KafkaStorageError)
            );
            assert_eq!(values(&rig, "words").unwrap(), ["words"]);
            let fs = stop(rig, fs, !closes).await;
            fs.damage(path, 0, &content);
            let rig = start(&fs, flush).await;
            check_whole(&rig).await;
            rig.close().await;
        }
    }
}

#[tokio::test]
async fn a_topic_whose_partition_is_lost_can_be_deleted_and_made_anew() {
    for flush in MODES {
        for closes in [true, false] {
            let fs = node(flush, closes).await;
            fs.remove_file(Path::new("/data/flights-0/partition.metadata"))
                .unwrap();
            let rig = start(&fs, flush).await;
            rig.local.delete_topic("flights").await.unwrap();
            rig.create_topic("flights", 1).await.unwrap();
            assert_eq!(append(&rig, "flights", "anew").await, Ok(0));
            let fs = stop(rig, fs, !closes).await;
            let rig = start(&fs, flush).await;
            assert_eq!(values(&rig, "flights").unwrap(), ["anew"]);
            assert_eq!(rig.store.lost_logs(), []);
            rig.close().await;
        }
    }
}

/// A partition that nobody asked for has no directory, and is new all the same.
#[tokio::test]
async fn a_log_that_was_never_asked_for_is_new() {
    for flush in MODES {
        let fs = node(flush, true).await;
        let rig = start(&fs, flush).await;
        rig.create_topic("idle", 1).await.unwrap();
        rig.close().await;
        assert!(!names(&fs).contains(&"idle-0".to_owned()));
        let rig = start(&fs, flush).await;
        assert_eq!(append(&rig, "idle", "first").await, Ok(0));
        rig.close().await;
    }
}

#[tokio::test]
async fn a_topic_whose_creation_was_answered_survives_a_power_cut() {
    for flush in MODES {
        for seed in 0..20 {
            let fs = SimFs::new(seed);
            let rig = start(&fs, flush).await;
            rig.create_topic("flights", 3).await.unwrap();
            let next = fs.power_cut(seed);
            rig.broker.shutdown(Duration::ZERO).await;
            let rig = start(&next, flush).await;
            let topic = rig.local.topic("flights").expect("the topic is there");
            assert_eq!(topic.partitions, 3, "{flush}, seed {seed}");
            rig.local.delete_topic("flights").await.unwrap();
            let next = next.power_cut(seed);
            rig.broker.shutdown(Duration::ZERO).await;
            let rig = start(&next, flush).await;
            assert!(rig.local.topic("flights").is_none(), "{flush}, seed {seed}");
        }
    }
}

/// Every file of a directory with its bytes, and every directory.
fn everything(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
            found.insert(path, None);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, Some(bytes));
        }
    }
    found
}

/// The files of a broker of Kafka 4.3 that is its own controller, after a clean stop.
fn kafka_directory(dir: &Path, has_lock: bool) {
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let batch = |epoch: i32, base_offset: i64, value: &[u8]| {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset,
            leader_epoch: epoch,
            ..BatchOptions::default()
        });
        builder
            .append(1_700_000_000_000, None, Some(value), [])
            .unwrap();
        builder.build().unwrap()
    };
    write(
        "meta.properties",
        b"#\n#Thu Jan 15 10:00:00 UTC 2026\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\ndirectory.id=fTkMeLHJSbqzEcGSCnqb4A\nnode.id=1\nversion=1\n",
    );
    write("bootstrap.checkpoint", &batch(0, 0, &[1, 12, 0, 25]));
    write(
        ".kafka_cleanshutdown",
        b"{\"version\":0,\"brokerEpoch\":12}",
    );
    write("cleaner-offset-checkpoint", b"0\n0\n");
    write("log-start-offset-checkpoint", b"0\n0\n");
    for name in [
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
    ] {
        write(name, b"0\n2\nflights 0 2\nflights 1 0\n");
    }
    if has_lock {
        write(".lock", b"");
    }
    let metadata = [batch(1, 0, b"no metadata of ours"), batch(1, 1, b"no JSON")].concat();
    for (log, id, content) in [
        (
            "__cluster_metadata-0",
            "AAAAAAAAAAAAAAAAAAAAAQ",
            &metadata[..],
        ),
        (
            "flights-0",
            "h3ZpXkRNT2qAQ5nW8jvB5g",
            &[batch(0, 0, b"a"), batch(0, 1, b"b")].concat(),
        ),
        ("flights-1", "h3ZpXkRNT2qAQ5nW8jvB5g", b""),
    ] {
        let segment = format!("{log}/00000000000000000000");
        write(&format!("{segment}.log"), content);
        write(&format!("{segment}.index"), b"");
        write(&format!("{segment}.timeindex"), &[0; 12]);
        write(
            &format!("{log}/partition.metadata"),
            format!("version: 0\ntopic_id: {id}").as_bytes(),
        );
        write(&format!("{log}/leader-epoch-checkpoint"), b"0\n1\n0 0\n");
    }
    write(
        "__cluster_metadata-0/quorum-state",
        b"{\"leaderId\":1,\"leaderEpoch\":1,\"data_version\":1}",
    );
    write(
        "flights-2.0123456789abcdef0123456789abcdef-delete/00000000000000000000.log",
        b"",
    );
    write(
        "flights-3.0123456789abcdef0123456789abcdef-stray/00000000000000000000.log",
        b"",
    );
}

#[tokio::test]
async fn a_kafka_brokers_directory_is_refused_and_not_a_byte_of_it_changed() {
    for flush in MODES {
        for has_lock in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            kafka_directory(dir.path(), has_lock);
            let before = everything(dir.path());
            let refused = Rig::over(StoreOptions::new(dir.path(), flush)).await;
            let error = refused.err().expect("the start is refused");
            for part in [
                "flights-0",
                "millstream-checkpoint",
                "a data directory of its own",
            ] {
                assert!(error.contains(part), "{error}");
            }
            assert_eq!(everything(dir.path()), before, "{flush}");
        }
    }
}
