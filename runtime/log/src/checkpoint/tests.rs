use proptest::prelude::*;

use super::*;
use crate::fs::RealFs;

fn read_text<T>(
    text: &str,
    read: impl Fn(&dyn FileSystem, &Path) -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    std::fs::write(&path, text).unwrap();
    read(&RealFs, &path)
}

fn malformed_line<T: std::fmt::Debug>(result: Result<T, CheckpointError>) -> usize {
    match result.unwrap_err() {
        CheckpointError::Malformed { line, .. } => line,
        other => panic!("{other}"),
    }
}

#[test]
fn offsets_are_written_as_kafka_writes_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(RECOVERY_POINTS);
    assert_eq!(read_offsets(&RealFs, &path).unwrap(), None);
    let offsets = OffsetMap::from([(("b".into(), 1), 7), (("a".into(), 0), i64::MAX)]);
    write_offsets(&RealFs, &path, &offsets).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "0\n2\na 0 9223372036854775807\nb 1 7\n");
    assert_eq!(read_offsets(&RealFs, &path).unwrap(), Some(offsets));
    assert_eq!(
        RealFs.read_dir(dir.path()).unwrap().len(),
        1,
        "the .tmp is gone"
    );
}

#[test]
fn a_damaged_offset_file_names_the_line() {
    for (text, line) in [
        ("", 1),
        ("1\n0\n", 1),
        ("0\nmany\n", 2),
        ("0\n2\na 0 1\n", 2),
        ("0\n1\na 0\n", 3),
        ("0\n1\na 0 1 2\n", 3),
        ("0\n2\na 0 1\na 0 2\n", 4),
        ("0\n1\na 0 99999999999999999999\n", 3),
        ("0\n18446744073709551615\n", 2),
    ] {
        assert_eq!(
            malformed_line(read_text(text, read_offsets)),
            line,
            "{text:?}"
        );
    }
}

#[test]
fn leader_epochs_must_rise() {
    let epochs = read_text("0\n2\n0 0\n3 1200\n", read_leader_epochs)
        .unwrap()
        .unwrap();
    let expected = [(0, 0), (3, 1200)].map(|(epoch, start_offset)| EpochStart {
        epoch,
        start_offset,
    });
    assert_eq!(epochs, expected);
    assert_eq!(
        malformed_line(read_text("0\n2\n3 0\n3 1\n", read_leader_epochs)),
        4
    );
    assert_eq!(
        malformed_line(read_text("0\n2\n3 9\n4 1\n", read_leader_epochs)),
        4
    );
}

#[test]
fn meta_properties_are_read_in_any_order() {
    let text = "#\n#Thu Nov 21\nnode.id=1\ndirectory.id=fTkMeLHJSbqzEcGSCnqb4A\nversion=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\n";
    let meta = read_text(text, MetaProperties::read).unwrap().unwrap();
    assert_eq!(
        (meta.node_id, meta.cluster_id.as_str()),
        (1, "MkU3OEVBNTcwNTJENDM2Qg")
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(META_PROPERTIES);
    meta.write(&RealFs, &path).unwrap();
    assert_eq!(
        MetaProperties::read(&RealFs, &path).unwrap(),
        Some(meta.clone())
    );
    // An id that has changed is not another one.
    let changed = meta.to_text().replace("MkU3", "MkV3");
    assert_eq!(malformed_line(read_text(&changed, MetaProperties::read)), 1);
    let on_purpose: String = changed
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(
        read_text(&on_purpose, MetaProperties::read)
            .unwrap()
            .is_some()
    );
    assert_eq!(
        malformed_line(read_text("version=2\n", MetaProperties::read)),
        1
    );
    assert_eq!(
        malformed_line(read_text("version=1\nx\n", MetaProperties::read)),
        2
    );
}

#[test]
fn partition_metadata_has_kafkas_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(PARTITION_METADATA);
    let metadata = PartitionMetadata {
        topic_id: Uuid::from_u128(1),
    };
    metadata.write(&RealFs, &path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
    assert_eq!(
        PartitionMetadata::read(&RealFs, &path).unwrap(),
        Some(metadata)
    );
    assert_eq!(
        malformed_line(read_text(
            "version: 0\ntopic_id: short\n",
            PartitionMetadata::read
        )),
        2
    );
    assert_eq!(
        malformed_line(read_text("version: 0\n", PartitionMetadata::read)),
        1
    );
}

#[test]
fn the_clean_shutdown_marker_comes_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(CLEAN_SHUTDOWN);
    assert!(!CleanShutdown::exists(&RealFs, &path).unwrap());
    CleanShutdown { broker_epoch: -1 }
        .write(&RealFs, &path)
        .unwrap();
    assert!(CleanShutdown::exists(&RealFs, &path).unwrap());
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        r#"{"version":0,"brokerEpoch":-1}"#
    );
    CleanShutdown::delete(&RealFs, &path).unwrap();
    CleanShutdown::delete(&RealFs, &path).unwrap();
    assert!(!CleanShutdown::exists(&RealFs, &path).unwrap());
}

proptest! {
    #[test]
    fn an_id_survives_its_text_form(id in any::<u128>()) {
        let id = Uuid::from_u128(id);
        prop_assert_eq!(id_from_text(&id_to_text(id)), Some(id));
    }

    #[test]
    fn foreign_text_is_an_error_and_no_panic(text in "[0-9a-z \n.=:-]{0,60}") {
        let _ = read_text(&text, read_offsets);
        let _ = read_text(&text, read_leader_epochs);
        let _ = read_text(&text, MetaProperties::read);
        let _ = read_text(&text, PartitionMetadata::read);
    }
}
