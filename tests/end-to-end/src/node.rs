//! A node as a child process: started on free ports, killed or stopped, never left behind.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// How long a node may take to stop after SIGTERM before that counts as a failure.
const STOP_SECONDS_MAX: u64 = 30;

/// The built product, beside the program that asks.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows where it lies");
    let folder = own.parent().expect("a program lies in a folder");
    let programs = if folder.ends_with("deps") {
        folder.parent().expect("deps has a parent")
    } else {
        folder
    };
    programs.join("millstream")
}

/// How to start a node.
#[derive(Debug)]
pub struct NodeCommand {
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    wrapper: Vec<OsString>,
    stderr: Stdio,
}

impl NodeCommand {
    pub fn serve(data_dir: &Path) -> NodeCommand {
        NodeCommand::new("serve", data_dir)
    }

    /// `run` with a manifest; goes on until it is stopped, unless `--once` is added.
    pub fn run(manifest: &Path, data_dir: &Path) -> NodeCommand {
        NodeCommand::new("run", data_dir).argument(manifest)
    }

    fn new(command: &str, data_dir: &Path) -> NodeCommand {
        let free_port = "127.0.0.1:0";
        NodeCommand {
            arguments: vec![command.into()],
            environment: Vec::new(),
            wrapper: Vec::new(),
            stderr: Stdio::inherit(),
        }
        .arguments([
            "--output",
            "json",
            "--kafka-addr",
            free_port,
            "--http-addr",
            free_port,
        ])
        .argument("--data-dir")
        .argument(data_dir)
    }

    pub fn argument(mut self, argument: impl Into<OsString>) -> NodeCommand {
        self.arguments.push(argument.into());
        self
    }

    pub fn arguments<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> NodeCommand {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> NodeCommand {
        self.environment.push((name.to_string(), value.to_string()));
        self
    }

    /// Runs the node under another program, such as strace.
    pub fn under<A: Into<OsString>>(mut self, wrapper: impl IntoIterator<Item = A>) -> NodeCommand {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    pub fn stderr(mut self, to: Stdio) -> NodeCommand {
        self.stderr = to;
        self
    }

    /// Starts the node and waits until it says where it listens.
    pub fn start(self) -> Result<Node> {
        let mut words = self.wrapper;
        words.push(program().into_os_string());
        words.extend(self.arguments);
        let started = Instant::now();
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.stderr)
            .spawn()
            .with_context(|| format!("cannot start {}", words[0].to_string_lossy()))?;
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the node ended before it listened: {}", child.wait()?);
        }
        let listening: Listening = serde_json::from_str(&line)
            .with_context(|| format!("the node's first line: {line}"))?;
        Ok(Node {
            child,
            stdout,
            kafka: listening.kafka_addr,
            http: listening.http_addr,
            started,
        })
    }
}

/// The first line that a node prints with `--output json`.
#[derive(Deserialize)]
struct Listening {
    kafka_addr: SocketAddr,
    http_addr: SocketAddr,
}

/// A running node. Dropped, it is killed.
#[derive(Debug)]
pub struct Node {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub kafka: SocketAddr,
    pub http: SocketAddr,
    pub started: Instant,
}

/// How a node ended and what it printed after its first line.
#[derive(Debug)]
pub struct Stopped {
    pub status: ExitStatus,
    pub stdout: String,
}

impl Node {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, now.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id =
            Pid::from_raw(i32::try_from(self.child.id())?).context("a process id is not zero")?;
        Ok(kill_process(id, signal)?)
    }

    /// SIGTERM, then waits for the end.
    pub fn stop(self) -> Result<Stopped> {
        self.signal(Signal::TERM)?;
        self.wait_for(Duration::from_secs(STOP_SECONDS_MAX))
    }

    /// Waits until the node ends by itself.
    pub fn wait_for(mut self, limit: Duration) -> Result<Stopped> {
        let begun = Instant::now();
        let mut rest = String::new();
        // The pipe's end is the process's end; a node that hangs is found by the loop below.
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if begun.elapsed() > limit {
                bail!("the node still ran after {limit:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        self.stdout.read_to_string(&mut rest)?;
        Ok(Stopped {
            status,
            stdout: rest,
        })
    }

    /// The body of an HTTP answer and its status code.
    pub fn http_get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = std::net::TcpStream::connect(self.http)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let code = answer
            .split(' ')
            .nth(1)
            .context("no status line")?
            .parse()?;
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body)
            .unwrap_or_default();
        Ok((code, body.to_string()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
