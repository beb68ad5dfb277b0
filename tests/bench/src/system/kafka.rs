//! Apache Kafka and Kafka Streams, by the script in `tests/peers/kafka`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Durability, INPUT, OUTPUT, PipelineSetup, Setup, System};
use crate::cases::client;

/// How long Kafka Streams may take until its first output.
const STREAMS_START_MAX: Duration = Duration::from_secs(90);

/// Above this an application's first bytes of a value are left alone: the variant `keepstamp`.
const STAMP_BYTES: u32 = 16;

#[derive(Debug)]
pub struct Kafka {
    peer: Peer,
    address: String,
    streams: Option<Child>,
}

/// The script with its own folder of state; the jars are shared.
#[derive(Debug)]
struct Peer {
    script: PathBuf,
    dir: PathBuf,
}

impl Peer {
    fn new(data_dir: &Path) -> Result<Peer> {
        let jars = std::env::var("MILLSTREAM_TEST_KAFKA_JARS")
            .context("Apache Kafka is not installed: run the bench with `cargo xtask bench`")?;
        let dir = data_dir.join("kafka");
        std::fs::create_dir_all(&dir)?;
        if !dir.join("lib").exists() {
            std::os::unix::fs::symlink(jars, dir.join("lib"))?;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../peers/kafka/kafka")
            .canonicalize()?;
        Ok(Peer { script, dir })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command.args(arguments).env("KAFKA_PEER_DIR", &self.dir);
        command
    }

    fn output(&self, command: &mut Command) -> Result<String> {
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("{command:?} ended with {}", output.status);
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_string())
    }
}

impl Kafka {
    pub fn start(setup: &Setup<'_>) -> Result<Kafka> {
        let peer = Peer::new(setup.data_dir)?;
        let mut settings = setup.settings.to_vec();
        if setup.durability == Durability::Flushed {
            settings.push("log.flush.interval.messages=1");
        }
        // The broker outlives the script, so it must not hold the pipe that we read to its end.
        let mut start = peer.command(&["start"]);
        start.env("EXTRA", settings.join("\n"));
        let started = start.stdout(Stdio::null()).status()?;
        if !started.success() {
            bail!("Kafka did not start: {started}");
        }
        let address = peer.output(&mut peer.command(&["address"]))?;
        let mut kafka = Kafka {
            peer,
            address,
            streams: None,
        };
        if let Some(pipeline) = setup.pipeline {
            client::create_topics(&kafka.address, &[INPUT, OUTPUT])?;
            kafka.streams = Some(kafka.start_streams(pipeline)?);
            client::wait_for_pipeline(&kafka.address, STREAMS_START_MAX)?;
        }
        Ok(kafka)
    }

    fn start_streams(&self, pipeline: PipelineSetup) -> Result<Child> {
        let commit = pipeline.commit_ms.to_string();
        let mut arguments = vec!["streams", "exactly_once_v2", &commit, "1", INPUT, OUTPUT];
        match pipeline.keep_bytes {
            0 => {}
            STAMP_BYTES => arguments.push("keepstamp"),
            other => bail!("the peer's pipeline keeps 0 or {STAMP_BYTES} bytes, not {other}"),
        }
        let log = File::create(self.peer.dir.join("streams.log"))?;
        let mut command = self.peer.command(&arguments);
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command.spawn()?)
    }
}

impl System for Kafka {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn processes(&self) -> Vec<u32> {
        let broker = std::fs::read_to_string(self.peer.dir.join("pid")).ok();
        let broker = broker.and_then(|id| id.trim().parse().ok());
        // The script ends in `exec java`, so the child is the application itself.
        broker
            .into_iter()
            .chain(self.streams.as_ref().map(Child::id))
            .collect()
    }

    fn logs(&self) -> PathBuf {
        self.peer.dir.join("logs")
    }

    fn compaction_time(&self, topic: &str) -> Result<Option<Duration>> {
        let said = std::fs::read_to_string(self.peer.dir.join("broker.log"))?;
        let pass = format!("cleaned log {topic}-0 ");
        let Some((_, said)) = said.rsplit_once(&pass) else {
            return Ok(None);
        };
        // "2,048.0 MB of log processed in 15.9 seconds (…)", on the next line
        let seconds = said
            .split_once("of log processed in ")
            .and_then(|(_, rest)| rest.split_once(" seconds"))
            .map(|(seconds, _)| seconds.replace(',', "").parse());
        Ok(seconds.transpose()?.map(Duration::from_secs_f64))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(streams) = &mut self.streams {
            // Fails only when it has ended already.
            let _ = streams.kill();
            let _ = streams.wait();
        }
        let begun = Instant::now();
        let stopped = self.peer.command(&["stop"]).status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("bench: Kafka did not stop within {:?}", begun.elapsed());
        }
    }
}
