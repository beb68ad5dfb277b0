//! The comparison itself.
//!
//! Two things can differ. *Which* records there are: compared as a multiset over topic, partition, key, value, headers
//! and timestamp. And their *order*, within each key or each partition: compared over the records that both sides
//! have, so that one lost record is reported as lost and not as a thousand misplaced ones.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::Record;

/// Within which group records must stand in the same order on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The records of each key in each topic; records without a key go by partition.
    #[default]
    PerKey,
    /// The records of each partition.
    PerPartition,
    /// Anything goes.
    Any,
}

/// What to compare and how much of a difference to show.
#[derive(Debug, Clone)]
pub struct Comparison {
    order: Order,
    /// Topic and name of headers whose values may differ.
    free_headers: BTreeSet<(String, String)>,
    samples_max: usize,
}

impl Default for Comparison {
    fn default() -> Self {
        Self::new()
    }
}

impl Comparison {
    /// All fields, order per key, ten samples of each kind of difference.
    pub fn new() -> Self {
        Self {
            order: Order::PerKey,
            free_headers: BTreeSet::new(),
            samples_max: 10,
        }
    }

    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Any value will do in this header of this topic's records; the header must still stand in its place.
    pub fn any_value_of(mut self, topic: &str, header: &str) -> Self {
        self.free_headers
            .insert((topic.to_owned(), header.to_owned()));
        self
    }

    /// How many records of each kind of difference are kept to be shown.
    pub fn samples(mut self, samples_max: usize) -> Self {
        self.samples_max = samples_max;
        self
    }

    /// Compares; `Ok` means that no difference was found. Both lists hold each partition's records in order.
    pub fn compare(&self, expected: &[Record], found: &[Record]) -> Result<(), Box<Difference>> {
        let expected = self.prepared(expected);
        let found = self.prepared(found);
        let (expected_common, missing) = split(&expected, &found);
        let (found_common, extra) = split(&found, &expected);
        let mut difference = Difference {
            expected: expected.len(),
            found: found.len(),
            missing: missing.len(),
            missing_samples: self.samples_of(&missing),
            extra: extra.len(),
            extra_samples: self.samples_of(&extra),
            ..Difference::default()
        };
        if self.order != Order::Any {
            self.compare_order(&expected_common, &found_common, &mut difference);
        }
        if difference.is_none() {
            Ok(())
        } else {
            Err(Box::new(difference))
        }
    }

    fn prepared<'r>(&self, records: &'r [Record]) -> Vec<Cow<'r, Record>> {
        let without_free_values = |record: &'r Record| {
            let mut prepared = Cow::Borrowed(record);
            for (topic, name) in &self.free_headers {
                if *topic == record.topic {
                    let headers = prepared.to_mut().headers.iter_mut();
                    for (_, value) in headers.filter(|(found, _)| found == name.as_bytes()) {
                        *value = None;
                    }
                }
            }
            prepared
        };
        records.iter().map(without_free_values).collect()
    }

    fn samples_of(&self, records: &[&Record]) -> Vec<Record> {
        let samples = records.iter().take(self.samples_max);
        samples.map(|record| (*record).clone()).collect()
    }

    /// Both lists hold the same multiset of records.
    fn compare_order(&self, expected: &[&Record], found: &[&Record], difference: &mut Difference) {
        let expected = self.grouped(expected);
        let mut found = self.grouped(found);
        let mut groups: Vec<_> = expected.into_iter().collect();
        groups.sort_unstable_by_key(|(group, _)| *group);
        for (group, expected) in groups {
            let found = found.remove(&group).unwrap_or_default();
            let pairs = expected.iter().zip(&found).enumerate();
            let mut wrong = pairs.filter(|(_, (expected, found))| expected != found);
            let Some((place, (expected, found))) = wrong.next() else {
                continue;
            };
            difference.misplaced += 1 + wrong.count();
            difference.misplaced_groups += 1;
            if difference.misplaced_samples.len() < self.samples_max {
                difference.misplaced_samples.push(Misplaced {
                    group: group.to_string(),
                    place,
                    expected: (*expected).clone(),
                    found: (*found).clone(),
                });
            }
        }
    }

    fn grouped<'r>(&self, records: &[&'r Record]) -> HashMap<Group<'r>, Vec<&'r Record>> {
        let mut groups: HashMap<Group<'r>, Vec<&'r Record>> = HashMap::new();
        for record in records {
            let group = Group {
                topic: &record.topic,
                partition: record.partition,
                key: match self.order {
                    Order::PerKey => record.key.as_deref(),
                    Order::PerPartition | Order::Any => None,
                },
            };
            groups.entry(group).or_default().push(record);
        }
        groups
    }
}

/// What is told apart: the records of `side` that `other` has as often, and those that it has not.
fn split<'r>(
    side: &'r [Cow<'_, Record>],
    other: &[Cow<'_, Record>],
) -> (Vec<&'r Record>, Vec<&'r Record>) {
    let mut counts: HashMap<&Record, usize> = HashMap::new();
    for record in other {
        *counts.entry(record).or_default() += 1;
    }
    side.iter()
        .map(AsRef::as_ref)
        .partition(|record: &&Record| match counts.get_mut(*record) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        })
}

/// Records that must keep their order among each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Group<'r> {
    topic: &'r str,
    partition: i32,
    key: Option<&'r [u8]>,
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)?;
        match self.key {
            Some(key) => write!(f, ", key {:?}", String::from_utf8_lossy(key)),
            None => Ok(()),
        }
    }
}

/// Everything in which two lists of records differ: counts in full, and the first records of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    pub expected: usize,
    pub found: usize,
    /// Expected and not found, or found less often than expected.
    pub missing: usize,
    pub missing_samples: Vec<Record>,
    /// Found and not expected, or found more often than expected.
    pub extra: usize,
    pub extra_samples: Vec<Record>,
    /// Places that hold another record of their key or partition than expected, and in how many of these.
    pub misplaced: usize,
    pub misplaced_groups: usize,
    /// The first misplaced record of each key or partition.
    pub misplaced_samples: Vec<Misplaced>,
}

/// The first place in a key's or partition's order where two lists part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    /// Topic, partition and key.
    pub group: String,
    /// Counted from 0 among the group's records that both lists have.
    pub place: usize,
    pub expected: Record,
    pub found: Record,
}

impl Difference {
    fn is_none(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.misplaced == 0
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records expected, {} found: {} missing, {} extra, {} out of order in {} keys or partitions",
            self.expected,
            self.found,
            self.missing,
            self.extra,
            self.misplaced,
            self.misplaced_groups
        )?;
        let lists = [
            ("missing", self.missing, &self.missing_samples),
            ("extra", self.extra, &self.extra_samples),
        ];
        for (name, count, samples) in lists {
            for record in samples {
                write!(f, "\n  {name}: {record}")?;
            }
            if count > samples.len() {
                write!(f, "\n  … and {} more {name}", count - samples.len())?;
            }
        }
        for sample in &self.misplaced_samples {
            let Misplaced { group, place, .. } = sample;
            write!(f, "\n  out of order: {group}, from record {place} on")?;
            write!(f, "\n    expected: {}", sample.expected)?;
            write!(f, "\n    found:    {}", sample.found)?;
        }
        Ok(())
    }
}

impl std::error::Error for Difference {}

#[cfg(test)]
mod tests;
