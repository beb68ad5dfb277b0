//! Mistakes that the argument parser finds, told as other failures are.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::outcome::Failure;
use crate::output::OutputFormat;

/// Tells of a command line that was not understood, in the format that it asks for; help and versions are printed as
/// ever. Gives the exit code.
pub fn report(error: &clap::Error, words: impl IntoIterator<Item = OsString>) -> ExitCode {
    if error.use_stderr() && asks_for_json(words) {
        return Failure::usage(message(error)).report(OutputFormat::Json);
    }
    // A reader that has gone away takes nothing from the exit code.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

/// Whether the words choose JSON, as far as words that were not understood can be read.
fn asks_for_json(words: impl IntoIterator<Item = OsString>) -> bool {
    let mut words = words.into_iter().take_while(|word| word != "--");
    while let Some(word) = words.next() {
        if word == "--output=json"
            || (word == "--output" && words.next().is_some_and(|w| w == "json"))
        {
            return true;
        }
    }
    false
}

/// What is wrong and what is like it, without the pages that people get to read behind it.
fn message(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "something is missing behind the last word: `--help` says what it takes".to_owned();
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = ["\n\nUsage:", "\n\nFor more information"]
        .iter()
        .filter_map(|rest| text.find(rest))
        .min();
    text[..end.unwrap_or(text.len())].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Arguments;

    fn asks(words: &[&str]) -> bool {
        asks_for_json(words.iter().map(OsString::from))
    }

    #[test]
    fn json_is_asked_for_wherever_the_option_stands() {
        assert!(asks(&["millstream", "--output", "json", "topic"]));
        assert!(asks(&[
            "millstream",
            "topic",
            "--nonsense",
            "--output=json"
        ]));
        assert!(!asks(&["millstream", "topic", "--output", "table"]));
        assert!(!asks(&["millstream", "topic", "--output"]));
        assert!(!asks(&["millstream", "produce", "--", "--output", "json"]));
        assert!(!asks(&["millstream", "consume", "json"]));
    }

    #[test]
    fn a_message_is_what_is_wrong_and_no_page() {
        let told = |words: &[&str]| {
            let words = ["millstream"].iter().chain(words);
            message(&Arguments::try_parse_from(words).unwrap_err())
        };
        let unknown = told(&["topic", "list", "--nod", "x"]);
        assert!(
            unknown.starts_with("unexpected argument '--nod' found"),
            "{unknown}"
        );
        assert!(unknown.contains("'--node'"), "{unknown}");
        let missing = told(&["topic", "create"]);
        assert!(missing.contains("<"), "{missing}");
        let nothing = told(&["topic"]);
        for message in [unknown, missing, nothing] {
            assert!(!message.contains("Usage"), "{message}");
            assert!(!message.contains("For more information"), "{message}");
        }
    }
}
