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
    /// The leader epoch of the last record before `next_offset`.
    pub leader_epoch: i32,
}

/// The next record that an input partition gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub topic_id: [u8; 16],
    pub partition: i32,
    pub next_offset: i64,
}
