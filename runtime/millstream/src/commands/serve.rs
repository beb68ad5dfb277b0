//! `millstream serve`: a node without pipelines of its own.

use clap::Args;

use super::runtime;
use crate::node::{Ground, Node, stop_signal};
use crate::outcome::Outcome;
use crate::output::OutputFormat;
use crate::settings::NodeArguments;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
}

pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let settings = arguments.node.resolve()?;
    runtime()?.block_on(async {
        let node = Node::start(&settings, Ground::default()).await?;
        // Whoever reads the line may stop the node at once.
        let stop = stop_signal()?;
        announce(&node, output);
        let signal = stop.await;
        tracing::info!(?signal, "stopping");
        Ok(node.stop().await?)
    })
}

/// Says where the node listens: the first line on standard output, for people or for programs.
pub fn announce(node: &Node, output: OutputFormat) {
    let (kafka, http) = (node.kafka_addr(), node.http_addr());
    match output {
        OutputFormat::Table => println!("Kafka clients: {kafka}, HTTP: {http}"),
        OutputFormat::Json => println!(r#"{{"kafka_addr":"{kafka}","http_addr":"{http}"}}"#),
    }
}
