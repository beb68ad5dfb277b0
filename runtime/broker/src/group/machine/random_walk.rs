//! Random events against the group machine: it stays valid, answers every
//! request once and only requests that are parked, and answers all of them in
//! the end although nobody does anything but wait.

use std::collections::BTreeMap;

use millstream_log::testing::Random;

use super::*;
use crate::group::join::JoinRequest;
use crate::group::member::RequestId;
use crate::group::session::{Committer, SyncRequest};

struct Walk {
    random: Random,
    group: Group,
    limits: GroupLimits,
    now: i64,
    number: RequestId,
    /// Requests that were not answered yet, with who sent them.
    parked: BTreeMap<RequestId, usize>,
    /// Per client: the member id that it was told last.
    ids: [String; 5],
    /// Records on their way to the log.
    storing: Vec<Decision>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let limits = GroupLimits {
            initial_rebalance_delay_ms: if random.chance(50) { 0 } else { 3_000 },
            members_max: 4,
            ..GroupLimits::default()
        };
        Self {
            random,
            group: Group::new(0),
            limits,
            now: 1_000,
            number: 0,
            parked: BTreeMap::new(),
            ids: Default::default(),
            storing: Vec::new(),
        }
    }

    fn step(&mut self) {
        let client = usize::try_from(self.random.below(5)).unwrap();
        let decisions = match self.random.below(10) {
            0..=2 => self.join(client),
            3..=4 => self.sync(client),
            5 => {
                let generation = self.some_generation();
                let instance_id = instance_of(client);
                let (id, now) = (self.ids[client].clone(), self.now);
                let _ = self
                    .group
                    .heartbeat(&id, instance_id.as_deref(), generation, now);
                let committer = Committer {
                    member_id: &id,
                    instance_id: instance_id.as_deref(),
                    generation,
                };
                let _ = self.group.check_commit(committer, false, now);
                Vec::new()
            }
            6 => {
                let instance_id = instance_of(client);
                let id = self.ids[client].clone();
                self.group
                    .leave(&id, instance_id.as_deref(), &self.limits, self.now)
                    .1
            }
            7..=8 => self.stored(),
            _ => {
                self.now += i64::try_from(self.random.below(8_000)).unwrap();
                self.group.tick(&self.limits, self.now)
            }
        };
        self.take(decisions);
    }

    fn join(&mut self, client: usize) -> Vec<Decision> {
        self.number += 1;
        self.parked.insert(self.number, client);
        let forgets = self.random.chance(30);
        let protocols = match self.random.below(8) {
            0 => vec!["sticky"],
            1 => vec!["range"],
            _ => vec!["range", "sticky"],
        };
        let request = JoinRequest {
            request: self.number,
            member_id: if forgets {
                String::new()
            } else {
                self.ids[client].clone()
            },
            instance_id: instance_of(client),
            client_id: format!("c{client}"),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 6_000 + i32::try_from(self.random.below(10_000)).unwrap(),
            rebalance_timeout_ms: i32::try_from(self.random.below(20_000)).unwrap(),
            protocol_type: "consumer".into(),
            protocols: protocols
                .into_iter()
                .map(|name| (name.into(), Bytes::new()))
                .collect(),
            require_known_member_id: self.random.chance(50),
            supports_skipping_assignment: self.random.chance(50),
            fresh_member_id: format!("c{client}-{}", self.number),
        };
        self.group.join(request, &self.limits, self.now)
    }

    fn sync(&mut self, client: usize) -> Vec<Decision> {
        self.number += 1;
        self.parked.insert(self.number, client);
        let request = SyncRequest {
            request: self.number,
            member_id: self.ids[client].clone(),
            instance_id: instance_of(client),
            generation: self.some_generation(),
            protocol_type: None,
            protocol: None,
            assignments: self
                .ids
                .iter()
                .map(|id| (id.clone(), Bytes::from_static(b"share")))
                .collect(),
        };
        self.group.sync(request, self.now)
    }

    fn some_generation(&mut self) -> i32 {
        let off = i32::from(self.random.chance(10));
        self.group.generation() - off
    }

    /// One record reaches the log, or does not.
    fn stored(&mut self) -> Vec<Decision> {
        if self.storing.is_empty() {
            return Vec::new();
        }
        match self.storing.remove(0) {
            Decision::StoreAssignment {
                generation,
                assignment,
            } => {
                let result = if self.random.chance(80) {
                    Ok(assignment)
                } else {
                    Err(ErrorCode::CoordinatorNotAvailable)
                };
                self.group
                    .assignment_stored(generation, result, &self.limits, self.now)
            }
            Decision::Store { then } => then.into_iter().map(Decision::Reply).collect(),
            Decision::Reply(_) => unreachable!("only records are stored"),
        }
    }

    fn take(&mut self, decisions: Vec<Decision>) {
        self.group.validate();
        for decision in decisions {
            let Decision::Reply(reply) = decision else {
                self.storing.push(decision);
                continue;
            };
            let number = match &reply {
                Reply::Join(number, _) | Reply::Sync(number, _) => *number,
            };
            let client = self.parked.remove(&number);
            let client = client.expect("an answer to a request that nobody sent, or a second one");
            if let Reply::Join(_, answer) = reply
                && !answer.member_id.is_empty()
            {
                self.ids[client] = answer.member_id;
            }
        }
    }

    /// Nobody does anything any more: time alone must answer everybody.
    fn wait_for_all(&mut self) {
        for _ in 0..1_000 {
            if self.parked.is_empty() && self.storing.is_empty() {
                return;
            }
            while !self.storing.is_empty() {
                let decisions = self.stored();
                self.take(decisions);
            }
            if let Some(next) = self.group.next_deadline_ms() {
                self.now = self.now.max(next);
            }
            let decisions = self.group.tick(&self.limits, self.now);
            self.take(decisions);
        }
        panic!(
            "{} requests are never answered: {:?}",
            self.parked.len(),
            self.group
        );
    }
}

/// Two of the clients are static members.
fn instance_of(client: usize) -> Option<String> {
    (client < 2).then(|| format!("instance-{client}"))
}

#[test]
fn every_walk_stays_valid_and_answers_everybody_once() {
    let mut stable = 0;
    for seed in 0..400 {
        let mut walk = Walk::new(seed);
        for _ in 0..300 {
            walk.step();
            stable += u32::from(walk.group.state() == GroupState::Stable);
        }
        walk.wait_for_all();
    }
    assert!(stable > 1_000, "the walks get somewhere: {stable}");
}
