//! `millstream run`: a node with a pipeline in one process.

mod look;
mod printing;
mod progress;
mod summary;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use millstream_pipeline::plan::Plan;
use millstream_pipeline::run::{RunningPipeline, Summary, Workers};

use super::runtime;
use super::serve::announce;
use crate::asking::Asking;
use crate::engine::LocalEngine;
use crate::node::{Ground, Node, StopSignal, stop_signal};
use crate::outcome::{Failure, FailureKind, Outcome};
use crate::output::OutputFormat;
use crate::pipelines::{self, Deployment, PluginArguments, Prepared, Start};
use crate::screen::{above_bars, print_warnings};
use crate::settings::NodeArguments;

/// How long tasks may take to commit what they have done when the node stops.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How often a pipeline that runs without end is looked at for tasks that gave up.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub struct Arguments {
    /// The manifest
    manifest: PathBuf,
    /// Stop when the sources are drained and nothing is left to do
    #[arg(long)]
    once: bool,
    /// Start over: the topics that the pipeline writes are removed with all their records and made anew
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    asking: Asking,
    /// Print the committed records of a topic as they come
    #[arg(long, value_name = "TOPIC")]
    print: Option<String>,
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    plugins: PluginArguments,
}

/// Why a run ended.
enum End {
    Drained,
    /// No task is at work any more.
    GaveUp,
    Signal,
}

pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let settings = arguments.node.resolve()?;
    runtime()?.block_on(async {
        let prepared = pipelines::prepare(&arguments.manifest, &arguments.plugins).await?;
        let node = Node::start(&settings, Ground::default()).await?;
        // Whoever reads the line may stop the node at once.
        let stop = stop_signal()?;
        announce(&node, output);
        let ended = run_on(&node, prepared, arguments, output, stop).await;
        let stopped = node.stop().await;
        let (end, summary) = ended?;
        stopped?;
        summary::print(&summary, &settings, output)?;
        verdict(&end, arguments.once, &summary, output)
    })
}

async fn run_on(
    node: &Node,
    prepared: Prepared,
    arguments: &Arguments,
    output: OutputFormat,
    stop: impl Future<Output = StopSignal>,
) -> Outcome<(End, Summary)> {
    let start = if arguments.fresh {
        Start::Fresh
    } else {
        Start::Resume
    };
    let plan = pipelines::plan(&prepared, node.broker(), start).await?;
    if let Some(topic) = &arguments.print {
        check_printed(node, &plan, topic)?;
    }
    print_warnings(&prepared.warnings.clone().with(plan.warnings.clone()));
    let deployment = Deployment::decide(&plan, node.broker(), start).await?;
    for notice in plan.notices.iter().chain(&deployment.notice) {
        above_bars(|| eprintln!("note: {notice}"));
    }
    tokio::pin!(stop);
    if let Some(question) = &deployment.question {
        arguments.asking.agree(question, stop.as_mut()).await?;
    }
    deployment.carry_out(node.broker()).await?;
    let workers = Workers::new(None).context("cannot start the stages' threads")?;
    let engine = LocalEngine::new(node.broker());
    let printed = arguments
        .print
        .as_deref()
        .map(|topic| (topic, printing::ends_before(node, topic)));
    let plugins = pipelines::metered(&prepared.plugins, node.plugin_metrics());
    let running = millstream_pipeline::run::run(plan, engine, plugins, &workers).await?;
    node.pipelines().add(running.watch());
    let printer = printed.map(|(topic, ends)| printing::follow(node, topic, ends, output));
    let end = wait(&running, arguments.once, output, stop).await?;
    let summary = running.stop(STOP_DEADLINE).await;
    if let Some(printer) = printer {
        printer.finish().await?;
    }
    Ok((end, summary))
}

/// A topic to print must be there, or be made by the run.
fn check_printed(node: &Node, plan: &Plan, topic: &str) -> Outcome {
    let planned = plan.topics_to_create.iter().any(|spec| spec.name == topic);
    if planned || node.broker().local().topic(topic).is_some() {
        return Ok(());
    }
    let error = anyhow!(
        "there is no topic {topic} to print: this pipeline has {}",
        plan.topics().join(", ")
    );
    Err(Failure::new(FailureKind::NotFound, error))
}

async fn wait(
    running: &RunningPipeline<LocalEngine>,
    once: bool,
    output: OutputFormat,
    stop: impl Future<Output = StopSignal>,
) -> Outcome<End> {
    let shown = progress::show(running, output);
    let drained = async {
        match once {
            true => running.drained().await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        drained = drained => drained.map(|()| End::Drained).map_err(Failure::from),
        () = gave_up(running) => Ok(End::GaveUp),
        _ = stop => Ok(End::Signal),
        () = shown => Err(anyhow!("the progress display ended").into()),
    }
}

/// Returns when the last task has failed. The log has said why each did.
async fn gave_up(running: &RunningPipeline<LocalEngine>) {
    while running.is_alive() || running.summary().failures.is_empty() {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn verdict(end: &End, once: bool, summary: &Summary, output: OutputFormat) -> Outcome {
    if !summary.failures.is_empty() {
        return Err(failed(&summary.failures, was_logged() && !output.is_json()).into());
    }
    match end {
        End::Signal if once => Err(Failure::new(
            FailureKind::Interrupted,
            anyhow!("interrupted before everything was done: the next run goes on there"),
        )),
        End::Drained | End::Signal => Ok(()),
        End::GaveUp => Err(Failure::new(
            FailureKind::Failed,
            anyhow!("no task is at work any more"),
        )),
    }
}

/// Whether people have seen in the log why a task failed.
fn was_logged() -> bool {
    tracing::enabled!(target: "millstream_pipeline::task", tracing::Level::ERROR)
}

/// Says why tasks failed, unless that stands above already.
fn failed(failures: &[String], was_logged: bool) -> anyhow::Error {
    let tasks = match failures.len() {
        1 => "1 task".to_owned(),
        count => format!("{count} tasks"),
    };
    match was_logged {
        true => anyhow!("{tasks} failed, for the reason in the log above"),
        false => anyhow!("{tasks} failed:\n  {}", failures.join("\n  ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_the_log_has_shown_is_not_said_again() {
        let failures = ["stage clean: out of cheese".to_owned()];
        let said = failed(&failures, true).to_string();
        assert_eq!(said, "1 task failed, for the reason in the log above");
        let said = failed(&failures, false).to_string();
        assert!(said.contains("out of cheese"), "{said}");
    }
}
