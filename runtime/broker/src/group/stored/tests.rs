use super::*;
use crate::group::decision::Decision;
use crate::group::join::JoinRequest;
use crate::group::machine::GroupLimits;
use crate::group::session::SyncRequest;

fn committed(expire_ms: Option<i64>) -> CommittedOffset {
    CommittedOffset {
        offset: 17,
        // Version 1, which carries an expiry, has no leader epoch.
        leader_epoch: if expire_ms.is_some() { -1 } else { 3 },
        metadata: "mine".into(),
        commit_ms: 1_700_000_000_000,
        expire_ms,
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
