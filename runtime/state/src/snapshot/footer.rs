//! The last block: what the snapshot is of.

use super::fields::{Reader, Unreadable, put_varint};
use crate::tag::{ChangelogEnd, Position, Tag};

/// Version of the format.
const VERSION: u8 = 1;

/// The tag of a snapshot, and what it has of each store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    pub tag: Tag,
    /// Changes in the blocks before, all in all.
    pub changes: u64,
}

impl Footer {
    pub fn encode(&self) -> Vec<u8> {
        let Tag {
            changelogs,
            positions,
            stream_time,
            wall_time,
        } = &self.tag;
        let mut out = vec![VERSION];
        out.extend(self.changes.to_le_bytes());
        out.extend(wall_time.to_le_bytes());
        out.push(u8::from(stream_time.is_some()));
        out.extend(stream_time.unwrap_or_default().to_le_bytes());
        put_varint(&mut out, changelogs.len() as u64);
        for end in changelogs {
            out.extend(end.topic_id);
            out.extend(end.next_offset.to_le_bytes());
            out.extend(end.leader_epoch.to_le_bytes());
        }
        put_varint(&mut out, positions.len() as u64);
        for position in positions {
            out.extend(position.topic_id);
            out.extend(position.partition.to_le_bytes());
            out.extend(position.next_offset.to_le_bytes());
        }
        out
    }

    pub fn decode(body: &[u8]) -> Result<Self, Unreadable> {
        let mut fields = Reader(body);
        if fields.byte()? != VERSION {
            return Err(Unreadable);
        }
        let changes = u64::from_le_bytes(fields.array()?);
        let wall_time = fields.i64()?;
        let has_stream_time = fields.byte()?;
        let stream_time = fields.i64()?;
        let changelogs = list(&mut fields, |fields| {
            Ok(ChangelogEnd {
                topic_id: fields.array()?,
                next_offset: fields.i64()?,
                leader_epoch: fields.i32()?,
            })
        })?;
        let positions = list(&mut fields, |fields| {
            Ok(Position {
                topic_id: fields.array()?,
                partition: fields.i32()?,
                next_offset: fields.i64()?,
            })
        })?;
        if !fields.is_empty() || has_stream_time > 1 {
            return Err(Unreadable);
        }
        Ok(Self {
            tag: Tag {
                changelogs,
                positions,
                stream_time: (has_stream_time == 1).then_some(stream_time),
                wall_time,
            },
            changes,
        })
    }
}

fn list<'b, T>(
    fields: &mut Reader<'b>,
    mut item: impl FnMut(&mut Reader<'b>) -> Result<T, Unreadable>,
) -> Result<Vec<T>, Unreadable> {
    let count = fields.len()?;
    (0..count).map(|_| item(fields)).collect()
}
