//! The foreign clients that the tests drive: kcat, confluent-kafka in Python, Apache Kafka's own jars; and strace.
//!
//! What is missing is installed: with apt where we are root (kcat, Java, Maven, Python's venv, strace), with pip into a
//! virtual environment, with Maven into a cache.
//! What cannot be had is left out with a line that says so; with `CI=true` that is an error.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{self, run, succeeds};

/// The version of confluent-kafka that the tests are written for.
const CONFLUENT_KAFKA: &str = "confluent-kafka==2.12.1";

/// Where each client is, if it could be had.
#[derive(Debug, Default)]
pub struct Foreign {
    kcat: Option<String>,
    python: Option<PathBuf>,
    kafka_jars: Option<PathBuf>,
    strace: Option<String>,
    /// Whether a small disk can be mounted, to be filled.
    mounts: Option<()>,
}

impl Foreign {
    /// As the tests and tools want them.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        if let Some(kcat) = &self.kcat {
            variables.push(("MILLSTREAM_TEST_KCAT", kcat.clone()));
        }
        if let Some(python) = &self.python {
            variables.push(("MILLSTREAM_TEST_PYTHON", python.display().to_string()));
        }
        if let Some(jars) = &self.kafka_jars {
            variables.push(("MILLSTREAM_TEST_KAFKA_JARS", jars.display().to_string()));
        }
        if let Some(strace) = &self.strace {
            variables.push(("MILLSTREAM_TEST_STRACE", strace.clone()));
        }
        if self.mounts.is_some() {
            variables.push(("MILLSTREAM_TEST_MOUNTS", "1".to_owned()));
        }
        variables
    }
}

/// Installs what is missing, and looks at what cannot be installed: what a test leaves out by itself, nobody would see.
pub fn install() -> Result<Foreign> {
    let cache = cache_dir()?;
    Ok(Foreign {
        kcat: or_left_out("kcat", kcat())?,
        python: or_left_out("confluent-kafka", python(&cache))?,
        kafka_jars: or_left_out("Apache Kafka", kafka_jars(&cache))?,
        strace: or_left_out("strace", strace())?,
        mounts: or_left_out("a full disk", mount_and_unmount(&cache))?,
    })
}

fn or_left_out<T>(name: &str, result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if in_ci() => Err(error.context(format!(
            "{name} cannot be had, and CI=true leaves nothing out"
        ))),
        Err(error) => {
            eprintln!("left out: tests with {name}: {error:#}");
            Ok(None)
        }
    }
}

pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// `$MILLSTREAM_DEV_CACHE`, or `~/.cache/millstream-dev`.
pub fn cache_dir() -> Result<PathBuf> {
    let dir = match std::env::var_os("MILLSTREAM_DEV_CACHE") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let home =
                std::env::var_os("HOME").context("HOME is not set; set MILLSTREAM_DEV_CACHE")?;
            PathBuf::from(home).join(".cache/millstream-dev")
        }
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

fn kcat() -> Result<String> {
    if !succeeds(Command::new("kcat").arg("-V")) {
        apt_install("kcat")?;
    }
    Ok("kcat".to_string())
}

/// It must be allowed to trace, too.
fn strace() -> Result<String> {
    if !succeeds(Command::new("strace").arg("-V")) {
        apt_install("strace")?;
    }
    let traced = ["-f", "-qq", "-e", "trace=none", "true"];
    if !succeeds(Command::new("strace").args(traced)) {
        bail!("strace cannot trace a program: containers may forbid it");
    }
    Ok("strace".to_string())
}

fn apt_install(package: &str) -> Result<()> {
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("{package} is not installed, and there is no apt-get to install it with");
    }
    if !succeeds(Command::new("test").args(["-w", "/var/lib/dpkg"])) {
        bail!(
            "{package} is not installed, and only root can install it: apt-get install {package}"
        );
    }
    run(Command::new("apt-get").args(["-qq", "update"]))?;
    let install = ["-qq", "-y", "install", "--no-install-recommends", package];
    run(Command::new("apt-get")
        .args(install)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// A virtual environment with confluent-kafka in it.
fn python(cache: &Path) -> Result<PathBuf> {
    let environment = cache.join("python");
    let python = environment.join("bin/python");
    let importable =
        |python: &Path| succeeds(Command::new(python).args(["-c", "import confluent_kafka"]));
    if !importable(&python) {
        // Debian parts venv's pip from Python itself.
        if !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
            apt_install("python3-venv")?;
        }
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", CONFLUENT_KAFKA]))?;
    }
    if !importable(&python) {
        bail!("{} is installed and cannot be imported", CONFLUENT_KAFKA);
    }
    Ok(python)
}

/// Kafka's jars, by the peer's own script.
fn kafka_jars(cache: &Path) -> Result<PathBuf> {
    // 17 or newer is needed, which every Debian since 12 has.
    if !succeeds(Command::new("java").arg("-version")) {
        apt_install("default-jre-headless")?;
    }
    let jars = cache.join("kafka/lib");
    if !jars.join(".done").exists() {
        if !succeeds(Command::new("mvn").arg("--version")) {
            apt_install("maven")?;
        }
        let script = shell::root().join("tests/peers/kafka/kafka");
        run(Command::new(script)
            .arg("setup")
            .env("KAFKA_PEER_DIR", cache.join("kafka")))?;
    }
    Ok(jars)
}

/// Mounts a small disk, as the test of a full one does.
fn mount_and_unmount(cache: &Path) -> Result<()> {
    let place = cache.join(format!("mount-{}", std::process::id()));
    std::fs::create_dir(&place).with_context(|| format!("cannot create {}", place.display()))?;
    let mounted = succeeds(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(&place),
    );
    if mounted {
        run(Command::new("umount").arg(&place))?;
    }
    std::fs::remove_dir(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    if !mounted {
        bail!("a small disk cannot be mounted: only root can, and not in every container");
    }
    Ok(())
}
