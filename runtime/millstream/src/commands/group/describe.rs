//! `millstream group describe`: members, and how far the group has come in each partition.

mod partition;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use bytes::Bytes;
use millstream_broker::{HELD_PROTOCOL, positions_in_user_data};
use millstream_wire::coordinator_records::ConsumerProtocolAssignment;
use millstream_wire::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use millstream_wire::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use millstream_wire::{ErrorCode, Versioned};
use serde::Serialize;

use crate::client::{Client, ClientError, EARLIEST, Isolation, LATEST};
use crate::commands::at_node::offset;
use crate::output::{OutputFormat, Table, print_json};
use partition::{GroupOffsets, GroupPartition, Offsets};

#[derive(Debug, Serialize)]
struct GroupReport {
    group: String,
    state: String,
    protocol_type: String,
    assignor: String,
    coordinator: i32,
    /// Why the stage that holds the group has stopped.
    note: Option<String>,
    /// The sum over all partitions with a committed offset.
    lag: i64,
    members: Vec<Member>,
    partitions: Vec<GroupPartition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Member {
    member: String,
    instance: Option<String>,
    client: String,
    host: String,
    partitions: Vec<(String, i32)>,
    /// The next offsets to read, where the member is a stage's task.
    #[serde(skip)]
    current: Offsets,
}

pub async fn describe(
    mut client: Client,
    group: &str,
    output: OutputFormat,
) -> Result<(), ClientError> {
    let coordinator = client.coordinator(group).await?;
    let described = describe_group(&mut client, coordinator, group).await?;
    let committed = committed(&mut client, coordinator, group).await?;
    if described.group_state == "Dead" && committed.is_empty() {
        return Err(not_found(group));
    }
    let members = members(&described)?;
    let partitions = partitions(&mut client, &committed, &members).await?;
    let report = GroupReport {
        group: group.to_owned(),
        state: described.group_state,
        protocol_type: described.protocol_type,
        assignor: described.protocol_data,
        coordinator,
        note: described.error_message,
        lag: partitions
            .iter()
            .filter_map(|partition| partition.lag)
            .sum(),
        members,
        partitions,
    };
    if output.is_json() {
        return Ok(print_json(&report)?);
    }
    write!(std::io::stdout(), "{}", report.text())?;
    Ok(())
}

fn not_found(group: &str) -> ClientError {
    ClientError::NotFound(format!(
        "there is no group {group:?}; see `millstream group list`"
    ))
}

async fn describe_group(
    client: &mut Client,
    coordinator: i32,
    group: &str,
) -> Result<DescribedGroup, ClientError> {
    let request = DescribeGroupsRequest {
        groups: vec![group.to_owned()],
        include_authorized_operations: false,
    };
    let response = client.call_node(coordinator, &request).await?;
    let described = response.groups.into_iter().next().unwrap_or_default();
    match ErrorCode::from_code(described.error_code) {
        ErrorCode::None => Ok(described),
        ErrorCode::GroupIdNotFound => Err(not_found(group)),
        code => Err(ClientError::Refused {
            what: format!("describing group {group:?}"),
            code,
            detail: described.error_message,
        }),
    }
}

/// All offsets that the group has committed.
async fn committed(
    client: &mut Client,
    coordinator: i32,
    group: &str,
) -> Result<Offsets, ClientError> {
    // Version 8 asks for groups in a list, the versions before in fields of their own.
    let batched = client.version::<OffsetFetchRequest>().await? >= 8;
    let request = match batched {
        true => OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: group.to_owned(),
                ..OffsetFetchRequestGroup::default()
            }],
            ..OffsetFetchRequest::default()
        },
        false => OffsetFetchRequest {
            group_id: group.to_owned(),
            ..OffsetFetchRequest::default()
        },
    };
    let response = client.call_node(coordinator, &request).await?;
    let mut committed = Offsets::new();
    let mut code = response.error_code;
    for topic in response.topics {
        for partition in topic.partitions {
            let place = (topic.name.clone(), partition.partition_index);
            committed.insert(place, partition.committed_offset);
        }
    }
    for answer in response.groups {
        code = answer.error_code;
        for topic in answer.topics {
            for partition in topic.partitions {
                let place = (topic.name.clone(), partition.partition_index);
                committed.insert(place, partition.committed_offset);
            }
        }
    }
    ErrorCode::check(code).map_err(|code| {
        ClientError::refused(format!("reading the offsets of group {group:?}"), code)
    })?;
    committed.retain(|_, offset| *offset >= 0);
    Ok(committed)
}

/// The members, with the partitions that consumers among them were given.
fn members(group: &DescribedGroup) -> Result<Vec<Member>, ClientError> {
    let mut members = Vec::new();
    for member in &group.members {
        let assigned = member.member_assignment.clone();
        let mut partitions = Vec::new();
        let mut current = Offsets::new();
        if group.protocol_type == "consumer" && !assigned.is_empty() {
            let assignment = ConsumerProtocolAssignment::from_bytes(assigned).map_err(|error| {
                ClientError::Input(format!(
                    "the assignment of member {} of group {} cannot be read: {error}",
                    member.member_id, group.group_id
                ))
            })?;
            for topic in assignment.assigned_partitions {
                let place = |partition: &i32| (topic.topic.clone(), *partition);
                partitions.extend(topic.partitions.iter().map(place));
            }
            if group.protocol_data == HELD_PROTOCOL {
                current = positions(&partitions, assignment.user_data.unwrap_or_default());
            }
        }
        partitions.sort();
        members.push(Member {
            member: member.member_id.clone(),
            instance: member.group_instance_id.clone(),
            client: member.client_id.clone(),
            host: member.client_host.clone(),
            partitions,
            current,
        });
    }
    members.sort_by(|a, b| a.member.cmp(&b.member));
    Ok(members)
}

/// A task's positions, which its assignment carries in the order of the partitions.
fn positions(partitions: &[(String, i32)], user_data: Bytes) -> Offsets {
    let positions = positions_in_user_data(user_data, partitions.len());
    partitions
        .iter()
        .zip(positions)
        .filter_map(|(place, position)| Some((place.clone(), position?)))
        .collect()
}

/// Every partition that has a committed offset or a member.
async fn partitions(
    client: &mut Client,
    committed: &Offsets,
    members: &[Member],
) -> Result<Vec<GroupPartition>, ClientError> {
    let assigned: BTreeMap<&(String, i32), &str> = members
        .iter()
        .flat_map(|member| {
            member
                .partitions
                .iter()
                .map(|place| (place, member.member.as_str()))
        })
        .collect();
    let current: Offsets = members
        .iter()
        .flat_map(|member| member.current.clone())
        .collect();
    let places: BTreeSet<&(String, i32)> =
        committed.keys().chain(assigned.keys().copied()).collect();
    let topics: BTreeSet<&str> = places.iter().map(|(topic, _)| topic.as_str()).collect();
    let mut starts = BTreeMap::new();
    let mut stable = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for name in topics {
        // The offsets of a topic that was deleted stay in the group for a while.
        let topic = match client.topic(name, false).await {
            Ok(topic) => topic,
            Err(ClientError::NotFound(_)) => continue,
            Err(error) => return Err(error),
        };
        let all: Vec<i32> = topic
            .partitions
            .iter()
            .map(|partition| partition.index)
            .collect();
        for (time, isolation, found) in [
            (EARLIEST, Isolation::ReadUncommitted, &mut starts),
            (LATEST, Isolation::ReadCommitted, &mut stable),
            (LATEST, Isolation::ReadUncommitted, &mut ends),
        ] {
            let offsets = client.offsets(&topic, &all, time, isolation).await?;
            found.extend(
                offsets
                    .into_iter()
                    .map(|(p, offset)| ((name.to_owned(), p), offset)),
            );
        }
    }
    let offsets = GroupOffsets {
        committed,
        current: &current,
        starts: &starts,
        stable: &stable,
        ends: &ends,
    };
    Ok(places
        .into_iter()
        .map(|place| offsets.of(place, assigned.get(place)))
        .collect())
}

impl GroupReport {
    fn text(&self) -> String {
        let mut text = format!(
            "group {} ({}, {} members, coordinator {}, lag {})\n",
            self.group,
            self.state,
            self.members.len(),
            self.coordinator,
            self.lag
        );
        if let Some(note) = &self.note {
            text += &format!("stopped: {note}\n");
        }
        let mut table = Table::new(&[
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "CURRENT",
            "STABLE",
            "END",
            "LAG",
            "MEMBER",
        ]);
        for partition in &self.partitions {
            table.row([
                partition.topic.clone(),
                partition.partition.to_string(),
                offset(partition.committed),
                offset(partition.current),
                offset(partition.last_stable),
                offset(partition.end),
                offset(partition.lag),
                partition.member.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        if !self.partitions.is_empty() {
            text += &format!("\n{table}");
        }
        for partition in &self.partitions {
            text += &partition.removed_text().unwrap_or_default();
        }
        let mut table = Table::new(&["MEMBER", "CLIENT", "HOST", "PARTITIONS"]);
        for member in &self.members {
            table.row([
                member.member.clone(),
                member.client.clone(),
                member.host.clone(),
                member.partitions.len().to_string(),
            ]);
        }
        if !self.members.is_empty() {
            text += &format!("\n{table}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use millstream_wire::coordinator_records::TopicPartition;
    use millstream_wire::describe_groups::DescribedGroupMember;

    use super::*;

    fn group(assignment: bytes::Bytes) -> DescribedGroup {
        DescribedGroup {
            group_id: "g".to_owned(),
            protocol_type: "consumer".to_owned(),
            members: vec![DescribedGroupMember {
                member_id: "m".to_owned(),
                member_assignment: assignment,
                ..DescribedGroupMember::default()
            }],
            ..DescribedGroup::default()
        }
    }

    #[test]
    fn members_show_the_partitions_that_they_were_given() {
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: vec![TopicPartition {
                topic: "t".to_owned(),
                partitions: vec![3, 1],
            }],
            user_data: None,
        };
        let bytes = assignment.to_bytes(1).expect("encodes");
        let members = members(&group(bytes)).expect("reads");
        assert_eq!(
            members[0].partitions,
            [("t".to_owned(), 1), ("t".to_owned(), 3)]
        );
    }

    #[test]
    fn only_a_stages_task_says_where_it_reads() {
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: vec![TopicPartition {
                topic: "t".to_owned(),
                partitions: vec![1, 3],
            }],
            user_data: Some(
                [7_i64.to_be_bytes(), (-1_i64).to_be_bytes()]
                    .concat()
                    .into(),
            ),
        };
        let mut described = group(assignment.to_bytes(0).expect("encodes"));
        assert!(members(&described).expect("reads")[0].current.is_empty());
        described.protocol_data = HELD_PROTOCOL.to_owned();
        assert_eq!(
            members(&described).expect("reads")[0].current,
            Offsets::from([(("t".to_owned(), 1), 7)])
        );
    }

    #[test]
    fn an_assignment_that_cannot_be_read_is_reported() {
        let error = members(&group(bytes::Bytes::from_static(b"\x00")));
        assert!(
            error
                .expect_err("is malformed")
                .to_string()
                .contains("member m")
        );
        assert_eq!(
            members(&group(bytes::Bytes::new())).expect("reads").len(),
            1
        );
    }
}
