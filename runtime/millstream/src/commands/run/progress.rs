//! Progress while a pipeline runs: bars on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use millstream_pipeline::plan::SourcePlan;
use millstream_pipeline::run::{Progress, RunningPipeline};

use crate::engine::LocalEngine;
use crate::output::OutputFormat;
use crate::screen::bars;

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
    let bars = Bars::of(running);
    loop {
        bars.show(&running.progress());
        tokio::time::sleep(TERMINAL_INTERVAL).await;
    }
}

/// A bar for each source, by the bytes of its file, and a line for the pipeline. Gone when dropped.
struct Bars {
    sources: Vec<ProgressBar>,
    pipeline: ProgressBar,
}

impl Bars {
    fn of(running: &RunningPipeline<LocalEngine>) -> Bars {
        let sources = &running.plan().sources;
        let width = sources.iter().map(|source| source.name.chars().count());
        let width = width.max().unwrap_or(0);
        let source = |source: &SourcePlan| {
            let bar = styled(
                ProgressBar::new(1),
                "{prefix} [{bar:30}] {percent:>3}% {msg}",
            );
            bars().add(bar.with_prefix(format!("{:width$}", source.name)))
        };
        let sources = sources.iter().map(source).collect();
        let pipeline = bars().add(styled(ProgressBar::new_spinner(), "{spinner} {msg}"));
        Bars { sources, pipeline }
    }

    fn show(&self, progress: &Progress) {
        // The tasks of the sources come first, in the order of the plan.
        for (bar, task) in self.sources.iter().zip(&progress.tasks) {
            if let Some(file) = task.file {
                bar.set_length(file.bytes.max(1));
                bar.set_position(file.read.min(file.bytes));
            }
            bar.set_message(format!("{} records", task.counts.records_in));
            bar.tick();
        }
        self.pipeline.set_message(line(progress));
        self.pipeline.tick();
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for bar in self.sources.iter().chain([&self.pipeline]) {
            bar.finish_and_clear();
        }
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is sound");
    bar.with_style(style)
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
