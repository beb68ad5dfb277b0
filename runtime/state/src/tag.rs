//! Which commit a table stands at.

/// What is true of all stores of a task at one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tag {
    /// Of each store, in the order of the descriptor.
    pub changelogs: Vec<ChangelogEnd>,
    /// Of each input partition, the next record.
    pub positions: Vec<Position>,
    /// The largest timestamp that was taken, in milliseconds; `None` before the first record.
    pub stream_time: Option<i64>,
    /// When, by the wall clock, in milliseconds since 1970.
    pub wall_time: i64,
}

/// Where a changelog ended. An offset alone does not say which history it belongs to: a topic may be made anew, and after a
/// lost tail other records may stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangelogEnd {
    pub topic_id: [u8; 16],
    pub next_offset: i64,
    /// The leader epoch of the last record before `next_offset`; -1 where there is none.
    pub leader_epoch: i32,
}

impl ChangelogEnd {
    /// Whether a changelog still has the history that ended here. `end_of` tells where a leader epoch ends in it, `None` for
    /// an epoch that wrote nothing.
    pub fn is_in(&self, topic_id: &[u8; 16], end_of: impl Fn(i32) -> Option<i64>) -> bool {
        if self.topic_id != *topic_id {
            return false;
        }
        self.next_offset == 0
            || end_of(self.leader_epoch).is_some_and(|end| self.next_offset <= end)
    }
}

/// The next record that an input partition gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub topic_id: [u8; 16],
    pub partition: i32,
    pub next_offset: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_in_a_changelog_that_has_its_last_record() {
        let end = |next_offset, leader_epoch| ChangelogEnd {
            topic_id: [1; 16],
            next_offset,
            leader_epoch,
        };
        // Epoch 0 wrote 0 to 9, epoch 2 wrote 10 to 19.
        let end_of = |epoch| match epoch {
            0 => Some(10),
            2 => Some(20),
            _ => None,
        };
        for (tag, is_in) in [
            (end(0, -1), true),
            (end(10, 0), true),
            (end(11, 0), false),
            (end(20, 2), true),
            (end(21, 2), false),
            (end(11, 1), false),
        ] {
            assert_eq!(tag.is_in(&[1; 16], end_of), is_in, "{tag:?}");
            assert!(!tag.is_in(&[2; 16], end_of), "{tag:?}");
        }
    }
}
