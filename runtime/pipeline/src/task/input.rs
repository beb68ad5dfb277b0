//! One input partition of a stage task: how far it is read, worked on and committed.

use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use super::delay::DelayTracker;
use crate::manifest::IfNoOffset;
use crate::ports::{InputPartition, PortError, Position};

/// Positions in one input partition.
#[derive(Debug)]
pub struct Input<I> {
    pub topic: String,
    pub partition: i32,
    pub port: I,
    pub seed: u64,
    /// The next offset to hand to the plugin.
    pub read: i64,
    /// The next offset that the plugin has not consumed.
    pub done: i64,
    /// What is committed; `None` before the first commit.
    pub committed: Option<i64>,
    /// Offsets in front of the beginning that the partition had no more, when a task without a commit began at the
    /// earliest record.
    pub gone: i64,
    /// There may be something beyond `read`.
    pub readable: bool,
    /// Delays of the records before this were counted.
    counted: i64,
    delays: DelayTracker,
}

impl<I: InputPartition> Input<I> {
    /// Begins at the committed offset, or where the manifest says.
    pub async fn start(
        (topic, partition): (String, i32),
        port: I,
        seed: u64,
        committed: Option<i64>,
        if_no_offset: &IfNoOffset,
    ) -> Result<Self, PortError> {
        let (at, gone) = match committed {
            Some(offset) => (offset, 0),
            None => first_offset(&port, partition, if_no_offset).await?,
        };
        let mut delays = DelayTracker::default();
        delays.saw(port.bounds().await?.last_stable, Instant::now());
        Ok(Input {
            topic,
            partition,
            port,
            seed,
            read: at,
            done: at,
            committed,
            gone,
            readable: true,
            counted: at,
            delays,
        })
    }

    pub fn saw_end(&mut self, last_stable: i64) {
        self.delays.saw(last_stable, Instant::now());
    }

    /// Is there work that is not committed? A position that was never committed counts.
    pub fn is_ahead(&self) -> bool {
        self.committed != Some(self.done)
    }

    pub fn position(&self) -> Position {
        Position {
            topic: self.topic.clone(),
            topic_id: self.port.topic_id(),
            partition: self.partition,
            offset: self.done,
        }
    }

    /// The positions up to `done` were committed.
    pub fn commit(&mut self, now: Instant, histogram: &mut crate::run::Histogram) {
        self.delays
            .committed(self.counted, self.done, now, histogram);
        self.counted = self.done;
        self.committed = Some(self.done);
    }
}

/// Where a task without a commit begins, and how many offsets are gone in front of the earliest record, when it begins
/// there.
pub async fn first_offset<I: InputPartition>(
    port: &I,
    partition: i32,
    if_no_offset: &IfNoOffset,
) -> Result<(i64, i64), PortError> {
    let bounds = port.bounds().await?;
    let earliest = (bounds.log_start, bounds.log_start);
    Ok(match if_no_offset {
        IfNoOffset::Earliest => earliest,
        IfNoOffset::Latest => (bounds.log_end, 0),
        IfNoOffset::Timestamp(timestamp) => {
            let found = port.offset_for_timestamp(*timestamp).await?;
            (found.unwrap_or(bounds.log_end), 0)
        }
        IfNoOffset::Offsets(offsets) => offsets
            .iter()
            .find(|(named, _)| *named == partition)
            .map_or(earliest, |(_, offset)| (*offset, 0)),
    })
}

type Wait<'i> = Pin<Box<dyn Future<Output = Result<(), PortError>> + Send + 'i>>;

/// Waits until one of the inputs has something to read, and marks it.
pub async fn wait_for_any<I: InputPartition>(inputs: &mut [Input<I>]) -> Result<(), PortError> {
    if let [only] = inputs {
        only.port.wait_beyond(only.read).await?;
        only.readable = true;
        return Ok(());
    }
    let index = {
        let mut waits: Vec<Wait<'_>> = Vec::with_capacity(inputs.len());
        for input in inputs.iter() {
            waits.push(Box::pin(input.port.wait_beyond(input.read)));
        }
        std::future::poll_fn(|context| {
            for (index, wait) in waits.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = wait.as_mut().poll(context) {
                    return Poll::Ready(outcome.map(|()| index));
                }
            }
            Poll::Pending
        })
        .await?
    };
    inputs[index].readable = true;
    Ok(())
}
