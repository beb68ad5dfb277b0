//! How a wasm toolchain is looked for and set up, with programs in the place of rustc, cargo, rustup and apt-get that
//! write down how they are called.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use millstream_plugin_build::WASM_TARGET;

/// A folder of programs that is the whole PATH, in a home where nothing is installed.
struct Machine {
    dir: tempfile::TempDir,
}

struct Ended {
    code: Option<i32>,
    said: String,
    /// Each call of a program, in order.
    calls: Vec<String>,
}

impl Machine {
    /// Programs that do nothing but fail, until others are put in their place.
    fn bare() -> Machine {
        let machine = Machine {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(machine.path("bin")).unwrap();
        std::fs::create_dir(machine.path("home")).unwrap();
        std::fs::create_dir(machine.path("libdir")).unwrap();
        for program in ["rustc", "cargo", "rustup", "apt-get"] {
            machine.program(program, "exit 1");
        }
        let says_libdir = format!("echo {}", machine.path("libdir").display());
        machine.program("rustc", &says_libdir);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a program there which notes its call and goes on with `script`.
    fn program(&self, name: &str, script: &str) {
        let calls = self.path("calls").display().to_string();
        let path = self.path("bin").join(name);
        let text = format!("#!/bin/sh\necho \"{name} $*\" >> {calls}\n{script}\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the target's std looks like once it is installed.
    fn std_library(&self) -> PathBuf {
        self.path("libdir").join("libstd-0123.rlib")
    }

    fn plugin(&self, arguments: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .arg("plugin")
            .args(arguments)
            .current_dir(self.path("home"))
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            // Then rustup itself is asked whether there is a network.
            .env("https_proxy", "http://127.0.0.1:9")
            .output()
            .unwrap();
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        // What only looks around is no matter.
        let calls = calls.lines().filter(|call| !call.starts_with("rustc "));
        Ended {
            code: output.status.code(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
            calls: calls.map(str::to_owned).collect(),
        }
    }
}

/// The lines of `said` that print a command.
fn printed(said: &str) -> Vec<&str> {
    said.lines()
        .filter_map(|line| line.strip_prefix("+ "))
        .collect()
}

fn crate_at(path: &Path) -> String {
    std::fs::create_dir(path).unwrap();
    let manifest = "[package]\nname = \"mill\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    std::fs::write(path.join("Cargo.toml"), manifest).unwrap();
    path.display().to_string()
}

#[test]
fn without_setup_nothing_is_run_and_the_message_says_what_to_do() {
    let machine = Machine::bare();
    let plugin = crate_at(&machine.path("mill"));
    let ended = machine.plugin(&["build", "--no-setup", &plugin]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    for part in [
        WASM_TARGET,
        "--no-setup forbids",
        "millstream plugin setup",
        "rustup target add",
    ] {
        assert!(ended.said.contains(part), "no {part} in:\n{}", ended.said);
    }
    assert_eq!(ended.calls, [""; 0]);
    assert_eq!(printed(&ended.said), [""; 0]);
}

#[test]
fn a_target_that_is_installed_is_taken_as_it_is() {
    let machine = Machine::bare();
    std::fs::write(machine.std_library(), "").unwrap();
    let ended = machine.plugin(&["setup"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(ended.calls, [""; 0]);
}

#[test]
fn rustup_comes_first() {
    let machine = Machine::bare();
    let library = machine.std_library();
    machine.program(
        "rustup",
        &format!("case $1 in target) echo > {} ;; esac", library.display()),
    );
    let ended = machine.plugin(&["setup"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let adds = format!("rustup target add {WASM_TARGET}");
    assert_eq!(ended.calls, ["rustup --version", &adds]);
    assert_eq!(printed(&ended.said), [&adds]);
}

#[test]
fn debian_comes_next_and_then_all_that_was_tried_is_told() {
    let machine = Machine::bare();
    machine.program(
        "rustup",
        "case $1 in target) exit 1 ;; --version) echo rustup 1 ;; esac",
    );
    machine.program("apt-get", "case $1 in --version) ;; *) exit 100 ;; esac");
    let ended = machine.plugin(&["setup"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let adds = format!("rustup target add {WASM_TARGET}");
    let mut calls = vec!["rustup --version".to_owned(), adds.clone()];
    let mut reasons = vec![format!("`{adds}` failed")];
    if !Path::new("/etc/debian_version").exists() {
        reasons.push("this is no Debian".to_owned());
    } else if !rustix::process::geteuid().is_root() {
        calls.push("apt-get --version".to_owned());
        reasons.push("only root can install them".to_owned());
    } else {
        let install =
            "apt-get install --yes --no-install-recommends rustc-web cargo-web rust-web-src";
        calls.extend(["apt-get --version", install, "apt-get update"].map(str::to_owned));
        reasons.push("apt-get update` failed".to_owned());
    }
    assert_eq!(ended.calls, calls);
    let mut rest = ended.said.as_str();
    for reason in reasons.iter().map(String::as_str).chain(["What helps"]) {
        let at = rest.find(reason);
        let at = at.unwrap_or_else(|| panic!("no {reason}, or too early, in:\n{}", ended.said));
        rest = &rest[at..];
    }
}
