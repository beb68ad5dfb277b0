//! Somebody who has the program, an empty folder and a shell, and types what a page says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use millstream_end_to_end::program;

use super::page::{Block, Page};

pub struct Reader {
    /// `bin/millstream`, and the folder where the reader began.
    place: tempfile::TempDir,
    folder: PathBuf,
}

impl Reader {
    /// In an empty folder. The program is a copy that lies beside it.
    pub fn new() -> Result<Reader> {
        let place = tempfile::tempdir()?;
        let bin = place.path().join("bin");
        std::fs::create_dir(&bin)?;
        std::fs::copy(program(), bin.join("millstream")).context("copying the program")?;
        let folder = place.path().join("empty");
        std::fs::create_dir(&folder)?;
        Ok(Reader { place, folder })
    }

    /// Where the reader is now.
    pub fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Does all that the page asks for, in order. What the commands printed on standard output.
    pub fn follows(&mut self, page: &Page) -> Result<String> {
        let mut said = String::new();
        for block in &page.blocks {
            match block {
                Block::Commands(commands) => said += &self.types(commands)?,
                Block::File { path, text } => {
                    let path = self.folder.join(path);
                    let folder = path.parent().context("a file lies in a folder")?;
                    std::fs::create_dir_all(folder)?;
                    std::fs::write(path, text)?;
                }
            }
        }
        Ok(said)
    }

    /// Types these lines; each must succeed. A `cd` holds on.
    pub fn types(&mut self, lines: &str) -> Result<String> {
        let ended_in = self.place.path().join("ended-in");
        let script = format!("set -e\n{lines}\npwd > \"$ENDED_IN\"\n");
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(&self.folder)
            .env("PATH", self.search_path()?)
            .env("ENDED_IN", &ended_in)
            // Beside other nodes; what was built and compiled once need not be again.
            .env("MILLSTREAM_KAFKA_ADDR", "127.0.0.1:0")
            .env("MILLSTREAM_HTTP_ADDR", "127.0.0.1:0")
            .env("MILLSTREAM_CACHE_DIR", kept("cache"))
            .env("CARGO_TARGET_DIR", kept("new-plugins"))
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let complained = String::from_utf8_lossy(&output.stderr);
            bail!(
                "these lines ended with {}:\n{lines}\n{complained}\n{said}",
                output.status
            );
        }
        let ended = std::fs::read_to_string(&ended_in)?;
        self.folder = PathBuf::from(ended.trim_end());
        Ok(said)
    }

    /// The program is found as one that was installed.
    fn search_path(&self) -> Result<std::ffi::OsString> {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let own = self.place.path().join("bin");
        let all = std::iter::once(own).chain(std::env::split_paths(&before));
        Ok(std::env::join_paths(all)?)
    }
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
