//! Apache Kafka's own reader, DumpLogSegments, over a node's files.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::clients::kafka_tool;

const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";
/// How the transaction decoder prints the states of a transaction that went through.
const STATES: [(&str, &str); 3] = [
    ("Ongoing", "\"transactionStatus\":1,"),
    ("PrepareCommit", "\"transactionStatus\":2,"),
    ("CompleteCommit", "\"transactionStatus\":4,"),
];
/// Beginning of a dump that an error message shows.
const SHOWN_CHARS: usize = 2_000;

/// Checks a stopped node's data: valid batches with commit markers in the output topics, the groups' offsets, and
/// the transactions' states, all as Kafka's decoders print them.
pub fn check_files(jars: &str, data: &Path, outputs: &[&str], groups: &[&str]) -> Result<()> {
    for topic in outputs {
        let dumped = dump(jars, &segments(data, &format!("{topic}-"))?, &[])?;
        ensure!(
            !dumped.contains("isvalid: false"),
            "{topic} has a batch that is not valid"
        );
        for part in [
            "isvalid: true",
            "isTransactional: true",
            "endTxnMarker: COMMIT",
        ] {
            ensure!(
                dumped.contains(part),
                "{topic} has no {part}: {}",
                head(&dumped)
            );
        }
    }
    let offsets = segments(data, "__consumer_offsets-")?;
    let offsets = dump(jars, &offsets, &["--offsets-decoder"])?;
    for group in groups {
        ensure!(
            offsets.contains(group),
            "no offsets of {group}: {}",
            head(&offsets)
        );
    }
    let transactions = segments(data, "__transaction_state-")?;
    let transactions = dump(jars, &transactions, &["--transaction-log-decoder"])?;
    for (state, printed) in STATES {
        ensure!(
            transactions.contains(printed),
            "no transaction is {state}: {}",
            head(&transactions)
        );
    }
    Ok(())
}

fn dump(jars: &str, files: &str, extra: &[&str]) -> Result<String> {
    let mut arguments = vec!["--deep-iteration", "--print-data-log", "--files", files];
    arguments.extend(extra);
    kafka_tool(jars, DUMP, &arguments)
}

/// The non-empty segments of all partitions whose folder begins so, separated by commas.
fn segments(data: &Path, prefix: &str) -> Result<String> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        for file in std::fs::read_dir(entry.path())? {
            let file = file?;
            let is_segment = file
                .path()
                .extension()
                .is_some_and(|extension| extension == "log");
            if is_segment && file.metadata()?.len() > 0 {
                paths.push(file.path().display().to_string());
            }
        }
    }
    ensure!(
        !paths.is_empty(),
        "no segments of {prefix} in {}",
        data.display()
    );
    Ok(paths.join(","))
}

fn head(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
