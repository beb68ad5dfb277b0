//! `--print TOPIC`: what a run commits to a topic, printed as it comes.

use std::collections::BTreeMap;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::{Client, ClientError, Offsets};
use crate::commands::consume::print_until;
use crate::node::Node;
use crate::output::OutputFormat;

/// A reader beside the pipeline.
pub struct Follower {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), ClientError>>,
}

/// Where the topic ends before the run; nothing of a topic that is not there yet.
pub fn ends_before(node: &Node, topic: &str) -> Offsets {
    let local = node.broker().local();
    let partitions = local.topic(topic).map_or(0, |topic| topic.partitions);
    let end = |partition| {
        let log = local.partition(topic, partition).ok()?;
        Some((partition, log.offsets().last_stable))
    };
    (0..partitions).filter_map(end).collect::<BTreeMap<_, _>>()
}

/// Prints what is committed to the topic behind these ends.
pub fn follow(node: &Node, topic: &str, ends: Offsets, output: OutputFormat) -> Follower {
    let (stop, stopped) = watch::channel(false);
    let (address, topic) = (node.kafka_addr().to_string(), topic.to_owned());
    let task = tokio::spawn(async move {
        let client = Client::connect(&address).await?;
        print_until(client, &topic, ends, output, stopped).await
    });
    Follower { stop, task }
}

impl Follower {
    /// Prints up to the end as it is now, then stops.
    pub async fn finish(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        Ok(self.task.await.context("the printer panicked")??)
    }
}
