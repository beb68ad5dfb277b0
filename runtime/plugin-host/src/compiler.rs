//! Compiling in a process of its own, which limits itself: a module that is made to explode the compiler costs that
//! process its life, and the node an error message.
//!
//! The node starts the program that it was told to (its own, with a hidden subcommand), gives it the module on standard
//! input, and finds the artifact in the cache when it ended well. Nothing else comes back but words.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use sha2::{Digest as _, Sha256};

use crate::artifact::ArtifactCache;
use crate::engine;
use crate::failure::{HostFailure, LoadError};
use crate::limits::{COMPILE_THREADS_MAX, COMPILE_WORDS_BYTES_MAX, MODULE_BYTES_MAX};
use crate::plugin::Digest;

/// What compiling one module may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the compiling process. A JavaScript component of 12 MB needs 330 MB of memory.
    pub memory_bytes: u64,
    /// CPU time over all its threads, in whole seconds.
    pub cpu: Duration,
    /// Time by the clock, for a process that waits and does not work.
    pub wall: Duration,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 2 << 30,
            cpu: Duration::from_secs(120),
            wall: Duration::from_secs(300),
        }
    }
}

/// The program that compiles, and how it is started.
#[derive(Debug, Clone)]
pub struct ChildCompiler {
    pub program: PathBuf,
    /// Words before the ones that are added here: `--cache-dir DIR --memory-bytes N --cpu-seconds N`.
    pub arguments: Vec<OsString>,
    pub limits: CompileLimits,
}

/// The limit that a module's compilation ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompileLimit {
    Memory { bytes: u64 },
    Cpu { seconds: u64 },
    Wall { seconds: u64 },
}

impl fmt::Display for CompileLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { bytes } => write!(f, "{} MiB of memory", bytes >> 20),
            Self::Cpu { seconds } => write!(f, "{seconds} s of CPU"),
            Self::Wall { seconds } => write!(f, "{seconds} s"),
        }
    }
}

impl ChildCompiler {
    /// Compiles into the cache at `cache_dir`. Blocks until the process has ended or was killed.
    pub(crate) fn compile(&self, wasm: &[u8], cache_dir: &Path) -> Result<(), LoadError> {
        let mut child = self
            .command(cache_dir)
            .spawn()
            .map_err(|error| host_failure(format!("{}: {error}", self.program.display())))?;
        let mut input = child.stdin.take().expect("standard input is piped");
        let mut errors = child.stderr.take().expect("standard error is piped");
        let (ended, end) = mpsc::channel();
        let outcome = std::thread::scope(|scope| {
            // A process that ends early does not read its input to the end; how it ended tells more.
            scope.spawn(move || drop(input.write_all(wasm)));
            scope.spawn(move || {
                let mut words = Vec::new();
                let mut kept = errors.by_ref().take(COMPILE_WORDS_BYTES_MAX);
                let read = kept.read_to_end(&mut words);
                // What is beyond the bound is read and dropped: a full pipe would hold the process up.
                let rest = std::io::copy(&mut errors, &mut std::io::sink());
                // Nobody listens any more when the time is over.
                let _ = ended.send(read.and(rest).map(|_| words));
            });
            let words = end.recv_timeout(self.limits.wall);
            // Its standard error is closed, so it has ended or is about to; else its time is over.
            let killed = words.is_err().then(|| child.kill());
            let status = child.wait();
            (words, killed, status)
        });
        match outcome {
            (Err(_), killed, status) => {
                killed.transpose().and(status).map_err(host_failure)?;
                let seconds = self.limits.wall.as_secs();
                Err(LoadError::CompileLimit {
                    limit: CompileLimit::Wall { seconds },
                })
            }
            (Ok(words), _, status) => {
                let words = words.map_err(host_failure)?;
                self.judge(
                    status.map_err(host_failure)?,
                    &String::from_utf8_lossy(&words),
                )
            }
        }
    }

    fn command(&self, cache_dir: &Path) -> Command {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .arg("--cache-dir")
            .arg(cache_dir)
            .arg("--memory-bytes")
            .arg(self.limits.memory_bytes.to_string())
            .arg("--cpu-seconds")
            .arg(self.limits.cpu.as_secs().max(1).to_string())
            .env_clear()
            .env(
                "RAYON_NUM_THREADS",
                threads.min(COMPILE_THREADS_MAX).to_string(),
            )
            // Each arena of glibc's allocator takes address space ahead of use.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// What the end of the process says about the module.
    fn judge(&self, status: ExitStatus, words: &str) -> Result<(), LoadError> {
        if status.success() {
            return Ok(());
        }
        let signal = status.signal().and_then(Signal::from_named_raw);
        // Rust's allocator ends the process in so many words; a map that is refused is an error of the system.
        let out_of_memory = words.contains("memory allocation of")
            || words.contains("Cannot allocate memory")
            || words.contains("Resource temporarily unavailable");
        if out_of_memory {
            let bytes = self.limits.memory_bytes;
            return Err(LoadError::CompileLimit {
                limit: CompileLimit::Memory { bytes },
            });
        }
        match (status.code(), signal) {
            (_, Some(Signal::XCPU)) => Err(LoadError::CompileLimit {
                limit: CompileLimit::Cpu {
                    seconds: self.limits.cpu.as_secs().max(1),
                },
            }),
            (Some(code), _) if code == i32::from(MODULE_REFUSED) => Err(LoadError::Refused {
                reason: words.trim().to_owned(),
            }),
            _ => Err(LoadError::CompilerEnded {
                status: status.to_string(),
                words: words.trim().to_owned(),
            }),
        }
    }
}

fn host_failure(reason: impl fmt::Display) -> LoadError {
    LoadError::Host(HostFailure {
        doing: "starting the process that compiles",
        reason: reason.to_string(),
    })
}

/// Exit code of the compiling process when the module is at fault; the message is on its standard error.
pub const MODULE_REFUSED: u8 = 9;

/// The work of the compiling process: limits this process for the rest of its life, reads a module from `input`,
/// compiles it, and leaves the artifact in the cache.
pub fn compile_limited(
    cache_dir: &Path,
    limits: &CompileLimits,
    input: impl Read,
) -> Result<(), LoadError> {
    let failure = |reason: String| {
        LoadError::Host(HostFailure {
            doing: "compiling a plugin",
            reason,
        })
    };
    limit_this_process(limits).map_err(|error| failure(error.to_string()))?;
    let mut wasm = Vec::new();
    input
        .take(MODULE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut wasm)
        .map_err(|error| failure(error.to_string()))?;
    let engine =
        wasmtime::Engine::new(&engine::config()).map_err(|error| failure(format!("{error:#}")))?;
    let cache = ArtifactCache::open(cache_dir, &engine)
        .map_err(|error| failure(format!("{}: {error}", cache_dir.display())))?;
    let component = engine::compile(&engine, &wasm)?;
    let digest = Digest::new(Sha256::digest(&wasm).into());
    let kept = cache.put(digest.hex(), &component);
    kept.map_err(|error| failure(format!("{}: {error}", cache_dir.display())))
}

fn limit_this_process(limits: &CompileLimits) -> std::io::Result<()> {
    let at_most = |value: u64| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    setrlimit(Resource::Core, at_most(0))?;
    setrlimit(Resource::As, at_most(limits.memory_bytes))?;
    let seconds = limits.cpu.as_secs().max(1);
    let cpu = Rlimit {
        current: Some(seconds),
        // SIGXCPU ends the process; should it not, SIGKILL does a second later.
        maximum: Some(seconds.saturating_add(1)),
    };
    setrlimit(Resource::Cpu, cpu)?;
    // A node that is killed takes its compiler along.
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}
