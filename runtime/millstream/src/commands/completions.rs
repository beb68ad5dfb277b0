//! `millstream completions`: a script that teaches a shell the command line.

use std::io::Write as _;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::{Generator, Shell};

use crate::cli;
use crate::outcome::Outcome;

/// The name that is typed.
const BINARY: &str = "millstream";

#[derive(Debug, Args)]
#[command(after_help = "\
bash: millstream completions bash > ~/.local/share/bash-completion/completions/millstream
zsh:  millstream completions zsh > DIR/_millstream, DIR being one of $fpath
fish: millstream completions fish > ~/.config/fish/completions/millstream.fish")]
pub struct Arguments {
    /// For which shell
    shell: KnownShell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KnownShell {
    Bash,
    Zsh,
    Fish,
}

impl KnownShell {
    /// The script that the shell reads.
    fn script(self) -> Vec<u8> {
        let shell = match self {
            KnownShell::Bash => Shell::Bash,
            KnownShell::Zsh => Shell::Zsh,
            KnownShell::Fish => Shell::Fish,
        };
        let mut command = cli::Arguments::command();
        command.set_bin_name(BINARY);
        command.build();
        let mut script = Vec::new();
        shell.generate(&command, &mut script);
        script
    }
}

pub fn run(arguments: &Arguments) -> Outcome {
    Ok(std::io::stdout().write_all(&arguments.shell.script())?)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn each_script_knows_every_command() {
        for shell in KnownShell::value_variants() {
            let script = String::from_utf8(shell.script()).expect("a script is text");
            for command in cli::Arguments::command().get_subcommands() {
                let name = command.get_name();
                assert!(
                    script.contains(name) || command.is_hide_set(),
                    "{shell:?} does not know {name}"
                );
            }
        }
    }

    #[test]
    fn bash_completes_with_its_script() {
        let mut bash = Command::new("bash")
            .args(["--norc", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let mut script = KnownShell::Bash.script();
        script.extend_from_slice(
            b"\nCOMP_WORDS=(millstream val); COMP_CWORD=1\n_millstream millstream val millstream\necho \"${COMPREPLY[@]}\"\n",
        );
        let mut stdin = bash.stdin.take().expect("a pipe");
        stdin.write_all(&script).expect("bash reads its script");
        drop(stdin);
        let output = bash.wait_with_output().expect("bash ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "validate");
    }
}
