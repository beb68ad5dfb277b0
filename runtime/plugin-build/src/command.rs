//! Running other programs: printed before they run, bounded in time, their failure explained.

use std::ffi::OsStr;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A program that did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("cannot run `{command}`: {source}")]
    Start {
        command: String,
        source: std::io::Error,
    },
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },
    #[error("`{command}` was stopped: it did not end within {} s", limit.as_secs())]
    TooSlow { command: String, limit: Duration },
}

/// The command as one would type it, with the folder and the environment that it is given.
pub fn text(command: &Command) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let folder = command
        .get_current_dir()
        .and_then(|folder| std::path::absolute(folder).ok());
    let folder = folder.filter(|folder| *folder != here).map(|folder| {
        let folder = folder.strip_prefix(&here).unwrap_or(&folder);
        format!("cd {} &&", quoted(folder.as_os_str()))
    });
    let environment = command.get_envs().filter_map(|(name, value)| {
        // PATH is long, and of interest only where it says something new.
        let value = value?.to_string_lossy();
        let value = if name == "PATH" {
            value
                .split(':')
                .next()
                .map(|first| format!("{first}:$PATH"))?
        } else {
            value.into()
        };
        Some(format!("{}={value}", name.to_string_lossy()))
    });
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(quoted);
    let words = folder.into_iter().chain(environment).chain(words);
    words.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+*".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs to the end, output going where ours goes.
pub fn run(command: &mut Command, report: &mut dyn FnMut(&str)) -> Result<(), CommandError> {
    let text = text(command);
    report(&text);
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|source| CommandError::Start {
            command: text.clone(),
            source,
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(CommandError::Failed {
            command: text,
            status,
        })
    }
}

/// Runs for at most `limit`, then kills it.
pub fn run_for(
    command: &mut Command,
    limit: Duration,
    report: &mut dyn FnMut(&str),
) -> Result<(), CommandError> {
    let text = text(command);
    report(&text);
    let start = |source| CommandError::Start {
        command: text.clone(),
        source,
    };
    let mut child = command.stdin(Stdio::null()).spawn().map_err(start)?;
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(start)? {
            return if status.success() {
                Ok(())
            } else {
                Err(CommandError::Failed {
                    command: text,
                    status,
                })
            };
        }
        if began.elapsed() > limit {
            child.kill().and_then(|()| child.wait()).map_err(start)?;
            return Err(CommandError::TooSlow {
                command: text,
                limit,
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a program prints, when it is there and succeeds.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_takes_too_long_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let done = dir.path().join("done");
        let limit = Duration::from_millis(100);
        let mut printed = Vec::new();
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let error = run_for(&mut sleep, limit, &mut |line| printed.push(line.to_owned()));
        assert!(
            matches!(&error, Err(CommandError::TooSlow { command, limit: found })
                if command == "sleep 600" && *found == limit),
            "{error:?}"
        );
        assert_eq!(printed, ["sleep 600"]);
        // What is quick enough is waited for, and how it ended is told.
        let touch = format!("echo > {}", done.display());
        let minute = Duration::from_secs(60);
        run_for(&mut shell(&touch), minute, &mut |_| ()).unwrap();
        assert!(done.exists());
        let failed = run_for(&mut shell("exit 3"), minute, &mut |_| ());
        assert!(
            matches!(&failed, Err(CommandError::Failed { status, .. }) if status.code() == Some(3)),
            "{failed:?}"
        );
    }

    #[test]
    fn a_command_is_printed_as_one_would_type_it() {
        let mut command = Command::new("cargo");
        command
            .args(["build", "--config", "a=\"b c\"", ""])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("PATH", "/lld:/usr/bin:/bin")
            .env_remove("CARGO");
        let mut words: Vec<String> = text(&command).split(' ').map(str::to_owned).collect();
        words[..2].sort();
        assert_eq!(
            words.join(" "),
            "PATH=/lld:$PATH RUSTC_BOOTSTRAP=1 cargo build --config 'a=\"b c\"' ''"
        );
        let here = std::env::current_dir().unwrap();
        for (folder, said) in [
            (".", "cargo test"),
            ("a b", "cd 'a b' && cargo test"),
            ("/a", "cd /a && cargo test"),
            (here.join("b").to_str().unwrap(), "cd b && cargo test"),
        ] {
            let mut command = Command::new("cargo");
            command.arg("test").current_dir(folder);
            assert_eq!(text(&command), said);
        }
    }
}
