//! What a run has done, printed at its end.

use std::collections::BTreeMap;
use std::path::Path;

use millstream_pipeline::run::{DelaySummary, Summary};
use serde::Serialize;

use super::look;
use crate::output::{OutputFormat, Table};
use crate::settings::NodeSettings;

/// The JSON form: one line, so that it follows the node's first line.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    /// Topic → records that stages wrote, dead letters included.
    records_out: BTreeMap<&'a str, u64>,
    /// Where the node keeps its data.
    data_dir: String,
}

/// Prints it, and how to look at what it has left.
pub fn print(
    summary: &Summary,
    settings: &NodeSettings,
    output: OutputFormat,
) -> anyhow::Result<()> {
    let data_dir = std::path::absolute(&settings.data_dir)?;
    if output.is_json() {
        let topics = summary.topics.iter();
        let records_out = topics
            .map(|count| (count.topic.as_str(), count.records))
            .collect();
        println!(
            "{}",
            serde_json::to_string(&Json {
                summary,
                records_out,
                data_dir: data_dir.display().to_string(),
            })?
        );
        return Ok(());
    }
    let program = std::env::args().next();
    let program = program.as_deref().unwrap_or("millstream");
    let commands = look::commands(program, settings, summary);
    print!("{}", text(summary, &data_dir, &commands));
    Ok(())
}

fn text(summary: &Summary, data_dir: &Path, commands: &[String]) -> String {
    let seconds = summary.elapsed_ms as f64 / 1e3;
    let mut text = format!(
        "pipeline {}: {} records in, {seconds:.1} s\n",
        summary.pipeline_id, summary.records_in
    );
    let mut topics = Table::new(&["TOPIC", "RECORDS IN", "RECORDS OUT"]);
    let none = || "-".to_owned();
    for count in &summary.inputs {
        topics.row([count.topic.clone(), count.records.to_string(), none()]);
    }
    for count in &summary.topics {
        topics.row([count.topic.clone(), none(), count.records.to_string()]);
    }
    text += &topics.to_string();
    let Summary {
        dead_letters,
        skipped,
        transactions,
        retries,
        ..
    } = summary;
    text += &format!(
        "dead letters {dead_letters}, skipped {skipped}, transactions {transactions}, retries {retries}\n"
    );
    for stage in summary.stages.iter().filter(|stage| stage.gone > 0) {
        text += &format!(
            "warning: stage {} began behind {} offsets whose records had been removed: it never sees them\n",
            stage.name, stage.gone
        );
    }
    if let Some(DelaySummary { p50_us, p99_us, .. }) = summary.delay {
        text += &format!(
            "from the moment when a stage could read a record to the commit of what it made of it: half of the records \
             within {} (p50), 99 % within {} (p99)\n",
            milliseconds(p50_us),
            milliseconds(p99_us)
        );
    }
    text += &format!("the data lie in {}; to look at them:\n", data_dir.display());
    for command in commands {
        text += &format!("    {command}\n");
    }
    text
}

fn milliseconds(microseconds: u64) -> String {
    format!("{:.2} ms", microseconds as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use millstream_pipeline::run::{StageSummary, TopicCount};

    use super::*;

    #[test]
    fn a_run_tells_what_went_in_and_out_and_how_to_look_at_it() {
        let count = |topic: &str, records| TopicCount {
            topic: topic.to_owned(),
            records,
            dead_letters: topic.ends_with(".dead"),
        };
        let summary = Summary {
            pipeline_id: "flights".to_owned(),
            elapsed_ms: 4_120,
            records_in: 336_776,
            inputs: vec![count("flights", 336_776)],
            topics: vec![
                count("flights.clean", 327_346),
                count("flights.dead", 9_430),
            ],
            dead_letters: 9_430,
            transactions: 12,
            delay: Some(DelaySummary {
                p50_us: 25_000,
                p99_us: 80_500,
                max_us: 90_000,
            }),
            stages: vec![StageSummary {
                name: "clean".to_owned(),
                gone: 7,
                ..StageSummary::default()
            }],
            ..Summary::default()
        };
        let expected = "\
pipeline flights: 336776 records in, 4.1 s
TOPIC          RECORDS IN  RECORDS OUT
flights            336776            -
flights.clean           -       327346
flights.dead            -         9430
dead letters 9430, skipped 0, transactions 12, retries 0
warning: stage clean began behind 7 offsets whose records had been removed: it never sees them
from the moment when a stage could read a record to the commit of what it made of it: half of the records within 25.00 ms (p50), 99 % within 80.50 ms (p99)
the data lie in /data; to look at them:
    millstream serve
";
        let commands = ["millstream serve".to_owned()];
        assert_eq!(text(&summary, Path::new("/data"), &commands), expected);
    }
}
