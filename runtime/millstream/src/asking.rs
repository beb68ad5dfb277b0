//! What a command asks its user before it does more than its words say. Without a terminal nobody can be asked: then
//! only `--yes` agrees.

use std::io::{IsTerminal, Write as _};

use anyhow::{Context, anyhow};
use clap::Args;
use tokio::sync::oneshot;

use crate::outcome::{Failure, FailureKind, Outcome};

/// The option that answers in advance.
#[derive(Debug, Clone, Copy, Args)]
pub struct Asking {
    /// Agree to what would be asked
    #[arg(long)]
    pub yes: bool,
}

/// Something to be agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What will happen, in one line or more.
    pub consequences: String,
    /// What to do by who does not agree.
    pub otherwise: String,
}

/// How an answer is got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It was given in advance.
    Given,
    Ask,
    /// There is nobody to ask.
    Refuse,
}

impl Asking {
    /// Returns when the user agrees. Otherwise the failure says what would have happened, and that nothing was changed.
    /// `interrupted` gives up the waiting for an answer.
    pub async fn agree(self, question: &Question, interrupted: impl Future) -> Outcome {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let Question {
            consequences,
            otherwise,
        } = question;
        match way(self.yes, terminal) {
            Way::Given => {
                eprintln!("note: {consequences}");
                Ok(())
            }
            Way::Refuse => Err(Failure::usage(format!(
                "{consequences}\nNobody can be asked here, so nothing was changed: --yes agrees. {otherwise}"
            ))),
            Way::Ask => {
                eprint!("{consequences}\nGo on? [y/N] ");
                std::io::stderr().flush()?;
                tokio::select! {
                    line = read_line() => match agrees(&line?) {
                        true => Ok(()),
                        false => Err(Failure::usage(format!("nothing was changed. {otherwise}"))),
                    },
                    _ = interrupted => {
                        let error = anyhow!("interrupted, nothing was changed");
                        Err(Failure::new(FailureKind::Interrupted, error))
                    }
                }
            }
        }
    }
}

fn way(yes: bool, terminal: bool) -> Way {
    match (yes, terminal) {
        (true, _) => Way::Given,
        (false, true) => Way::Ask,
        (false, false) => Way::Refuse,
    }
}

fn agrees(line: &str) -> bool {
    matches!(line.trim().to_lowercase().as_str(), "y" | "yes")
}

/// A line from standard input. Nothing can end a read of it, so that its thread may wait until the process ends; the
/// runtime's own threads are joined before that.
async fn read_line() -> anyhow::Result<String> {
    let (sender, line) = oneshot::channel();
    let read = move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line).map(|_| line);
        // Whoever asked may have gone.
        let _ = sender.send(read);
    };
    let thread = std::thread::Builder::new().name("asking".to_owned());
    thread.spawn(read).context("cannot start a thread")?;
    line.await?.context("cannot read the answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_is_asked_and_yes_is_an_answer_everywhere() {
        for (yes, terminal, expected) in [
            (true, true, Way::Given),
            (true, false, Way::Given),
            (false, true, Way::Ask),
            (false, false, Way::Refuse),
        ] {
            assert_eq!(way(yes, terminal), expected, "{yes} {terminal}");
        }
    }

    #[test]
    fn whatever_is_not_yes_is_no() {
        for (line, expected) in [
            ("y\n", true),
            ("Y\r\n", true),
            (" yes \n", true),
            ("YES", true),
            ("n\n", false),
            ("\n", false),
            // The end of the input.
            ("", false),
            ("yes, but\n", false),
            ("ye\n", false),
        ] {
            assert_eq!(agrees(line), expected, "{line:?}");
        }
    }
}
