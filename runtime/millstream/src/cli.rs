//! The command line's root: global options and the list of commands, a file each under `commands/`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{
    compile_plugin, completions, config, consume, group, log, plugin, produce, run, serve, topic,
    validate,
};
use crate::outcome::Outcome;
use crate::output::OutputFormat;
use crate::screen::AboveBars;
use crate::usage;

#[derive(Debug, Parser)]
#[command(
    name = "millstream",
    version,
    about,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Log lines go to standard error. MILLSTREAM_LOG chooses them by level and target, as in \n\
        MILLSTREAM_LOG=warn,millstream=debug,plugin=debug; what plugins log has the target `plugin`."
)]
pub struct Arguments {
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: OutputFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline, with a node of its own, in one process
    Run(run::Arguments),
    /// Say all that is wrong with a manifest
    Validate(validate::Arguments),
    /// Write, build and test plugins
    Plugin(plugin::Arguments),
    /// Run a node
    Serve(serve::Arguments),
    /// Make, list, describe, alter and delete topics
    Topic(topic::Arguments),
    /// Show and change the settings of nodes
    Config(config::Arguments),
    /// Write lines from standard input to a topic
    Produce(produce::Arguments),
    /// Print the records of a topic
    Consume(consume::Arguments),
    /// List and describe consumer groups
    Group(group::Arguments),
    /// What the node starts to compile a plugin under limits
    #[command(hide = true)]
    CompilePlugin(compile_plugin::Arguments),
    /// Look into a node's files, and check them
    Log(log::Arguments),
    /// Write a script that completes this command line in a shell
    Completions(completions::Arguments),
}

/// Which log lines are shown unless `MILLSTREAM_LOG` says otherwise. What plugins log has a target of its own.
const DEFAULT_LOG: &str = "warn,millstream=info,plugin=info";

/// Log lines go to standard error; `MILLSTREAM_LOG` filters them as `RUST_LOG` would.
fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter =
        EnvFilter::try_from_env("MILLSTREAM_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| AboveBars::new(std::io::stderr()))
        .with_ansi(std::io::stderr().is_terminal())
        .compact()
        .init();
}

/// Parses the command line, runs what it asks for, and tells how it ended.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::report(&error, std::env::args_os()),
    };
    start_logging();
    let output = arguments.output;
    match arguments.command.run(output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(output),
    }
}

impl Command {
    fn run(&self, output: OutputFormat) -> Outcome {
        match self {
            Command::Run(run) => run::run(run, output),
            Command::Validate(validate) => validate::run(validate, output),
            Command::Plugin(plugin) => plugin::run(plugin, output),
            Command::Serve(serve) => serve::run(serve, output),
            Command::Topic(topic) => topic::run(topic, output),
            Command::Config(config) => config::run(config, output),
            Command::Produce(produce) => produce::run(produce, output),
            Command::Consume(consume) => consume::run(consume, output),
            Command::Group(group) => group::run(group, output),
            Command::CompilePlugin(compile) => compile_plugin::run(compile),
            Command::Log(log) => log::run(log, output),
            Command::Completions(completions) => completions::run(completions),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use clap::CommandFactory as _;
    use tracing_subscriber::EnvFilter;

    use super::{Arguments, DEFAULT_LOG};

    /// The words of a text, whatever its lines.
    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    fn check_help(command: &mut clap::Command) {
        let wide = command.clone().term_width(usize::MAX).render_long_help();
        let narrow = command.clone().term_width(80).render_long_help();
        let (wide, narrow) = (wide.to_string(), narrow.to_string());
        assert_eq!(words(&wide), words(&narrow), "{}", command.get_name());
        for line in narrow.lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
        }
        let below = command.get_subcommands_mut();
        for command in below.filter(|command| !command.is_hide_set()) {
            check_help(command);
        }
    }

    #[test]
    fn help_fits_80_columns_and_breaks_no_word() {
        let mut command = Arguments::command();
        command.build();
        check_help(&mut command);
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_plugins_log_is_shown_from_info_on() {
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(DEFAULT_LOG))
            .with_writer(move || written.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "plugin", "seen by its owner");
            tracing::debug!(target: "plugin", "in detail");
            tracing::info!(target: "some_library", "of no interest");
        });
        let shown = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(shown.contains("seen by its owner"), "{shown}");
        assert!(
            !shown.contains("in detail") && !shown.contains("of no interest"),
            "{shown}"
        );
    }
}
