//! Makes a wasm toolchain available, by the means that the machine has.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use crate::command::{CommandError, output, run, run_for};
use crate::toolchain::{DEBIAN_PACKAGES, Toolchain, WASM_TARGET};

/// rustup downloads 20 MB for the target; a network that needs longer is as good as none.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);
/// To find out whether rustup's server can be reached at all.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
const RUSTUP_SERVER: &str = "static.rust-lang.org:443";

/// No toolchain, and none could be had. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(
        "plugins are built for {WASM_TARGET}, which is not installed, and --no-setup forbids to install it.\n\
         Run `millstream plugin setup`, or `rustup target add {WASM_TARGET}`."
    )]
    Forbidden,
    #[error(
        "plugins are built for {WASM_TARGET}, which is not installed.{}\n{ADVICE}",
        tried_text(tried)
    )]
    Impossible { tried: Vec<String> },
}

const ADVICE: &str = "What helps: `rustup target add wasm32-unknown-unknown` where there is a network; on Debian, as \
                      root, `apt-get install rustc-web cargo-web rust-web-src` beside a Rust from rustup; or a plugin \
                      that was built elsewhere (`plugin = \"./x.wasm\"`).";

fn tried_text(tried: &[String]) -> String {
    tried.iter().map(|line| format!("\n  {line}")).collect()
}

/// Finds a toolchain, or installs one: with rustup, else with Debian's packages. `report` gets each command before it
/// runs.
pub fn setup(
    directory: &Path,
    no_setup: bool,
    report: &mut dyn FnMut(&str),
) -> Result<Toolchain, SetupError> {
    if let Some(toolchain) = Toolchain::find(directory) {
        return Ok(toolchain);
    }
    if no_setup {
        return Err(SetupError::Forbidden);
    }
    let mut tried = Vec::new();
    match with_rustup(directory, report) {
        Ok(()) => match Toolchain::find_installed(directory) {
            Some(toolchain) => return Ok(toolchain),
            None => tried.push(
                "rustup says that it added the target, but rustc does not find it".to_owned(),
            ),
        },
        Err(reason) => tried.push(reason),
    }
    match with_debian(report) {
        Ok(()) => match Toolchain::find_debian() {
            Some(toolchain) => return Ok(toolchain),
            None => tried.push(
                "Debian's packages are installed, but there is no `rust-lld` to link with"
                    .to_owned(),
            ),
        },
        Err(reason) => tried.push(reason),
    }
    Err(SetupError::Impossible { tried })
}

fn with_rustup(directory: &Path, report: &mut dyn FnMut(&str)) -> Result<(), String> {
    if output(Command::new("rustup").arg("--version")).is_none() {
        return Err("rustup is not installed".to_owned());
    }
    if !rustup_server_answers() {
        return Err(format!(
            "rustup was not asked: {RUSTUP_SERVER} does not answer"
        ));
    }
    let mut rustup = Command::new("rustup");
    rustup
        .args(["target", "add", WASM_TARGET])
        .current_dir(directory);
    run_for(&mut rustup, RUSTUP_LIMIT, report).map_err(|error| error.to_string())
}

/// False only when it is clear that there is no way: behind a proxy, or with another server, only rustup itself knows.
fn rustup_server_answers() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if [
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "RUSTUP_DIST_SERVER",
    ]
    .into_iter()
    .any(set)
    {
        return true;
    }
    // Looking a name up has no time limit of its own, so it happens beside us; when it hangs, the thread ends with it.
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || {
        let connects = |address| TcpStream::connect_timeout(&address, PROBE_LIMIT).is_ok();
        let reached = RUSTUP_SERVER
            .to_socket_addrs()
            .is_ok_and(|mut addresses| addresses.any(connects));
        // Nobody listens any more when the limit has passed.
        let _ = answer.send(reached);
    });
    answered.recv_timeout(PROBE_LIMIT).unwrap_or(false)
}

fn with_debian(report: &mut dyn FnMut(&str)) -> Result<(), String> {
    if !Path::new("/etc/debian_version").exists()
        || output(Command::new("apt-get").arg("--version")).is_none()
    {
        return Err("this is no Debian, whose packages would do".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("Debian's packages would do, but only root can install them".to_owned());
    }
    let first = run(&mut apt_install(), report);
    if first.is_ok() {
        return Ok(());
    }
    // The lists of a fresh machine or image may be missing or old.
    let mut update = Command::new("apt-get");
    update
        .arg("update")
        .env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut update, report)
        .and_then(|()| run(&mut apt_install(), report))
        .map_err(|error: CommandError| error.to_string())
}

fn apt_install() -> Command {
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--no-install-recommends"])
        .args(DEBIAN_PACKAGES);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install
}
