use uuid::Uuid;

use super::*;
use crate::group::decision::Decision;
use crate::group::join::JoinRequest;
use crate::group::machine::GroupLimits;
use crate::group::session::SyncRequest;

fn committed(expire_ms: Option<i64>) -> CommittedOffset {
    CommittedOffset {
        offset: 17,
        leader_epoch: 3,
        metadata: "mine".into(),
        commit_ms: 1_700_000_000_000,
        expire_ms,
        topic_id: Uuid::from_u128(0x1234_5678_9abc_def0_0fed_cba9_8765_4321),
    }
}

/// The records that a group of ours writes, by name.
fn records() -> Vec<(&'static str, Bytes, Option<Bytes>)> {
    let partition = TopicPartition::new("flights", 2);
    let offset = offset_key("g", &partition).unwrap();
    let value = |expire_ms| Some(offset_value(&committed(expire_ms)).unwrap());
    let group = Some(group_value(&stable_group(), None).unwrap());
    vec![
        ("an offset", offset.clone(), value(None)),
        ("one with an expiry", offset, value(Some(1 << 41))),
        ("a group", group_key("g").unwrap(), group),
    ]
}

#[test]
fn a_record_that_is_cut_short_is_refused() {
    for (name, key, value) in records() {
        let value = value.unwrap();
        for end in 0..key.len() {
            let cut = read(key.slice(..end), Some(value.clone()));
            assert!(cut.is_err(), "{name}: key of {end} bytes: {cut:?}");
        }
        for end in 0..value.len() {
            let cut = read(key.clone(), Some(value.slice(..end)));
            assert!(cut.is_err(), "{name}: value of {end} bytes: {cut:?}");
        }
    }
}

#[test]
fn a_record_with_a_flipped_bit_never_panics_and_never_reads_as_the_sound_one() {
    for (name, key, value) in records() {
        let value = value.unwrap();
        let sound = read(key.clone(), Some(value.clone())).unwrap();
        for bit in 0..8 * (key.len() + value.len()) {
            let mut bytes = [&key[..], &value[..]].concat();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (key, value) = bytes.split_at(key.len());
            let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            let flipped = read(key, Some(value));
            if let Ok(StoredRecord::Group {
                value: Some(value), ..
            }) = &flipped
            {
                Group::restore(value.clone(), 0).validate();
            }
            // Record types 0 and 1 have the same form and the same meaning.
            let is_the_other_type = key_is_of_an_offset(&sound) && bit == 8;
            assert_eq!(
                flipped == Ok(sound.clone()),
                is_the_other_type,
                "{name}: bit {bit}"
            );
        }
    }
}

fn key_is_of_an_offset(record: &StoredRecord) -> bool {
    matches!(record, StoredRecord::Offset { .. })
}

/// Kafka before it had topic ids, and we: without and with a client's own expiry.
#[test]
fn offsets_of_older_versions_name_no_topic() {
    let partition = TopicPartition::new("flights", 2);
    for (version, expire_ms) in [(0, None), (1, Some(9)), (2, None), (3, None)] {
        let value = OffsetCommitValue {
            offset: 17,
            leader_epoch: 3,
            metadata: "mine".into(),
            commit_timestamp: 1_700_000_000_000,
            expire_timestamp: 9,
            ..OffsetCommitValue::default()
        };
        let value = value.to_bytes(version).unwrap();
        let read = read(offset_key("g", &partition).unwrap(), Some(value)).unwrap();
        let expected = CommittedOffset {
            leader_epoch: if version == 3 { 3 } else { -1 },
            topic_id: Uuid::nil(),
            ..committed(expire_ms)
        };
        let StoredRecord::Offset { value, .. } = read else {
            panic!("{read:?}");
        };
        assert_eq!(value, Some(expected), "version {version}");
    }
}

#[test]
fn offsets_round_trip_with_and_without_expiry() {
    for expire_ms in [None, Some(1_800_000_000_000)] {
        let partition = TopicPartition::new("flights", 2);
        let value = committed(expire_ms);
        let record = read(
            offset_key("g", &partition).unwrap(),
            Some(offset_value(&value).unwrap()),
        )
        .unwrap();
        assert_eq!(
            record,
            StoredRecord::Offset {
                group: "g".into(),
                partition,
                value: Some(value),
            }
        );
    }
}

#[test]
fn tombstones_and_strangers_are_told_apart() {
    let partition = TopicPartition::new("flights", 2);
    assert!(matches!(
        read(offset_key("g", &partition).unwrap(), None),
        Ok(StoredRecord::Offset { value: None, .. })
    ));
    assert!(matches!(
        read(group_key("g").unwrap(), None),
        Ok(StoredRecord::Group { value: None, .. })
    ));
    assert_eq!(
        read(Bytes::from_static(&[0, 16, 1, 2]), None),
        Ok(StoredRecord::Other)
    );
    assert!(read(Bytes::from_static(&[0]), None).is_err());
    assert!(read(Bytes::from_static(&[0, 1, 0, 9, 1]), None).is_err());
}

fn stable_group() -> Group {
    let limits = GroupLimits {
        initial_rebalance_delay_ms: 0,
        ..GroupLimits::default()
    };
    let mut group = Group::new(5);
    let join = JoinRequest {
        request: 1,
        member_id: String::new(),
        instance_id: Some("one".into()),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
        require_known_member_id: true,
        supports_skipping_assignment: true,
        fresh_member_id: "m-1".into(),
    };
    group.join(join, &limits, 0);
    let decisions = group.sync(
        SyncRequest {
            request: 2,
            member_id: "m-1".into(),
            instance_id: Some("one".into()),
            generation: 1,
            protocol_type: None,
            protocol: None,
            assignments: vec![("m-1".into(), Bytes::from_static(b"all"))],
        },
        0,
    );
    let [Decision::StoreAssignment { assignment, .. }] = &decisions[..] else {
        panic!("{decisions:?}");
    };
    group.assignment_stored(1, Ok(assignment.clone()), &limits, 0);
    group.validate();
    group
}

#[test]
fn a_stable_group_survives_its_record() {
    let group = stable_group();
    let value = group_value(&group, None).unwrap();
    let StoredRecord::Group { value, .. } = read(group_key("g").unwrap(), Some(value)).unwrap()
    else {
        panic!("not a group");
    };
    let restored = Group::restore(value.unwrap(), 100);
    restored.validate();
    assert_eq!(restored.state(), GroupState::Stable);
    assert_eq!(restored.generation(), group.generation());
    assert_eq!(restored.leader(), Some("m-1"));
    let member = restored.members().next().unwrap();
    assert_eq!(member.assignment, "all");
    assert_eq!(member.session_deadline_ms, 10_100);
    assert_eq!(member.instance_id.as_deref(), Some("one"));
}

#[test]
fn a_record_that_makes_no_sense_gives_an_empty_group() {
    let value = group_value(&stable_group(), None).unwrap();
    let sound = GroupMetadataValue::from_bytes(value).unwrap();
    let mut no_leader = sound.clone();
    no_leader.leader = Some("stranger".into());
    let mut twins = sound.clone();
    let mut twin = twins.members[0].clone();
    twin.member_id = "m-2".into();
    twins.members.push(twin);
    let mut no_generation = sound;
    no_generation.generation = -4;
    for value in [no_leader, twins, no_generation] {
        let restored = Group::restore(value, 0);
        restored.validate();
        assert_eq!(restored.state(), GroupState::Empty);
    }
}

#[test]
fn a_held_members_tables_are_the_consumer_protocols() {
    let partitions = [
        TopicPartition::new("flights", 0),
        TopicPartition::new("flights", 2),
        TopicPartition::new("planes", 1),
    ];
    let subscription =
        ConsumerProtocolSubscription::from_bytes(subscription(&partitions).unwrap()).unwrap();
    assert_eq!(subscription.topics, ["flights", "planes"]);
    let assignment =
        ConsumerProtocolAssignment::from_bytes(assignment(&partitions, None).unwrap()).unwrap();
    assert_eq!(assignment.assigned_partitions[0].partitions, [0, 2]);
    assert_eq!(assignment.assigned_partitions[1].topic, "planes");
}
