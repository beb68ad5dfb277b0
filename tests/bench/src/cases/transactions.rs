//! One-record transactions, back to back, from one librdkafka client; beside it what the same client
//! reaches against librdkafka's built-in mock broker, which is the client's own ceiling.

use std::path::Path;

use anyhow::{Context, Result};

use super::client;
use crate::probe::process::cpu_seconds;
use crate::report::Figure;
use crate::system::{self, Durability, Setup, SystemKind};

const TRANSACTIONS: f64 = 4_000.0;
const WARM_UP_TRANSACTIONS: f64 = 1_000.0;

pub fn run(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    let python = std::env::var("MILLSTREAM_TEST_PYTHON")
        .context("confluent-kafka is not installed: run the bench with `cargo xtask bench`")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/transactions.py");
    let commits = |address: &str, count: f64| {
        let count = ((count * scale) as u64).to_string();
        client::parse_figures(&millstream_end_to_end::python(
            &python,
            &script,
            &[address, &count],
        )?)
    };
    let dir = tempfile::tempdir()?;
    let setup = Setup {
        settings: &[],
        data_dir: dir.path(),
        durability: Durability::Os,
        pipeline: None,
    };
    let system = system::start(kind, &setup)?;
    let address = system.address();
    client::create_topics(&address, &["transactions"])?;
    commits(&address, WARM_UP_TRANSACTIONS)?;

    // The ceiling before and after, since the machine's speed drifts.
    let ceiling_before = commits("mock", TRANSACTIONS / 2.0)?;
    let cpu_before = cpu_seconds(&system.processes())?;
    let own = commits(&address, TRANSACTIONS)?;
    let cpu = cpu_seconds(&system.processes())? - cpu_before;
    let ceiling_after = commits("mock", TRANSACTIONS / 2.0)?;

    let ceiling =
        (ceiling_before["commits_per_second"] + ceiling_after["commits_per_second"]) / 2.0;
    let rate = own["commits_per_second"];
    Ok(vec![
        Figure::new("commits_per_second", rate),
        Figure::new("mock_broker_commits_per_second", ceiling),
        Figure::new("share_of_mock_broker", rate / ceiling).aim(">= 0.8"),
        Figure::new("broker_cpu_ms_per_commit", cpu * 1e3 / own["commits"]).aim("<= 0.2"),
        Figure::new("p50_ms", own["p50_ms"]),
        Figure::new("p99_ms", own["p99_ms"]),
    ])
}
