//! What a run has done, printed at its end.

use std::collections::BTreeMap;

use millstream_pipeline::run::{DelaySummary, Summary};
use serde::Serialize;

use crate::output::{OutputFormat, Table};

/// The JSON form: one line, so that it follows the node's first line.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    /// Topic → records, dead letters left out.
    records_out: BTreeMap<&'a str, u64>,
}

pub fn print(summary: &Summary, output: OutputFormat) -> anyhow::Result<()> {
    if output.is_json() {
        let topics = summary.topics.iter();
        let records_out = topics
            .map(|count| (count.topic.as_str(), count.records))
            .collect();
        println!(
            "{}",
            serde_json::to_string(&Json {
                summary,
                records_out
            })?
        );
        return Ok(());
    }
    let seconds = summary.elapsed_ms as f64 / 1e3;
    println!(
        "pipeline {}: {} records in, {seconds:.1} s",
        summary.pipeline_id, summary.records_in
    );
    let mut topics = Table::new(&["TOPIC", "RECORDS OUT"]);
    for count in &summary.topics {
        topics.row([count.topic.clone(), count.records.to_string()]);
    }
    topics.print()?;
    let Summary {
        dead_letters,
        skipped,
        transactions,
        retries,
        ..
    } = summary;
    println!(
        "dead letters {dead_letters}, skipped {skipped}, transactions {transactions}, retries {retries}"
    );
    if let Some(DelaySummary { p50_us, p99_us, .. }) = summary.delay {
        println!(
            "from append to commit: p50 {}, p99 {}",
            milliseconds(p50_us),
            milliseconds(p99_us)
        );
    }
    Ok(())
}

fn milliseconds(microseconds: u64) -> String {
    format!("{:.2} ms", microseconds as f64 / 1e3)
}
