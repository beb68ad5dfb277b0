//! Progress while a pipeline runs: a line that moves on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use millstream_pipeline::run::{Progress, RunningPipeline};

use crate::engine::LocalEngine;
use crate::output::OutputFormat;

const TERMINAL_INTERVAL: Duration = Duration::from_millis(100);
/// Plain lines end up in logs: few are enough.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Shows progress until it is dropped. Programs (`--output json`) get none.
pub async fn show(running: &RunningPipeline<LocalEngine>, output: OutputFormat) {
    if output.is_json() {
        return std::future::pending().await;
    }
    if !std::io::stderr().is_terminal() {
        loop {
            tokio::time::sleep(PLAIN_INTERVAL).await;
            eprintln!("{}", line(&running.progress()));
        }
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    loop {
        bar.set_message(line(&running.progress()));
        bar.tick();
        tokio::time::sleep(TERMINAL_INTERVAL).await;
    }
}

fn line(progress: &Progress) -> String {
    let out: u64 = progress.topics.iter().map(|count| count.records).sum();
    format!(
        "{:.1} s: {} in, {out} out, {} dead letters, {} transactions, lag {}",
        progress.elapsed.as_secs_f64(),
        progress.records_in,
        progress.dead_letters,
        progress.transactions,
        progress.lag,
    )
}
