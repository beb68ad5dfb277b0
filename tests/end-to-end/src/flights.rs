//! The example's data directory, read as its users read it: its records by kcat, its files by Kafka's own tool.

use std::path::Path;

use anyhow::{Result, ensure};
use millstream_oracle::{Record, dead_letters, flights, parse_kcat, parse_kcat_with_offsets};

use crate::clients::kcat_read_committed;
use crate::dump::check_files;
use crate::node::NodeCommand;

/// The groups that keep the positions of the example's stages.
const GROUPS: [&str; 2] = ["millstream.flights.clean", "millstream.flights.route"];

/// All committed records of the example's results. Its dead letters must lead to the records that were refused.
pub fn committed_flights(kcat: &str, data_dir: &Path) -> Result<Vec<Record>> {
    let node = NodeCommand::serve(data_dir).start()?;
    let read = |topic: &str| kcat_read_committed(kcat, node.kafka, topic);
    let mut results = Vec::new();
    for topic in flights::RESULTS {
        results.extend(parse_kcat(read(topic)?.as_slice())?);
    }
    let inputs = parse_kcat_with_offsets(read(flights::SOURCE)?.as_slice())?;
    let stopped = node.stop()?;
    ensure!(
        stopped.status.success(),
        "the node ended with {}",
        stopped.status
    );
    let is_dead = |record: &&Record| record.topic == flights::DEAD;
    let dead: Vec<Record> = results.iter().filter(is_dead).cloned().collect();
    dead_letters::check_origins(&dead, &inputs)?;
    Ok(results)
}

/// Checks the files of a stopped node that has run the example: commits in its results, its groups' offsets, and its
/// transactions, all as Kafka's decoders print them.
pub fn check_flights_files(jars: &str, data_dir: &Path) -> Result<()> {
    check_files(jars, data_dir, &flights::RESULTS, &GROUPS)
}
