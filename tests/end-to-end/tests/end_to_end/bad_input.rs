//! Bad input: what is wrong is said, nothing is changed, and the rest of the node goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use millstream_end_to_end::{Client, NodeCommand, kcat};

use crate::scene::{FREE_PORTS, millstream, root};

#[test]
fn a_malformed_frame_closes_its_connection_and_nothing_else() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let node = NodeCommand::serve(&dir.path().join("data")).start()?;
    let mut healthy = TcpStream::connect(node.kafka)?;
    let metadata = [
        0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0u8,
    ];
    for garbage in [
        &[0xff; 64][..],                           // a negative length
        &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0][..], // 2 GiB to come
        &[0, 0, 0, 4, 0x7f, 0x7f, 0, 0][..],       // no such API
        &[
            0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff,
        ][..], // 2^31 topics
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut hostile = TcpStream::connect(node.kafka)?;
        hostile.set_read_timeout(Some(Duration::from_secs(10)))?;
        hostile.write_all(garbage)?;
        let mut answer = Vec::new();
        // Closed with or without a reset: both end the reading.
        let ended = hostile.read_to_end(&mut answer);
        assert!(
            !ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
            "{garbage:?} was not refused"
        );
        healthy.write_all(&metadata)?;
        let mut length = [0; 4];
        healthy.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        healthy.read_exact(&mut body)?;
    }
    Ok(())
}

fn broken_manifest(text: &str) -> Result<(tempfile::TempDir, std::process::Output)> {
    let dir = tempfile::tempdir()?;
    let manifest = dir.path().join("pipeline.toml");
    std::fs::write(&manifest, text)?;
    let data = dir.path().join("data").display().to_string();
    let path = manifest.display().to_string();
    let words = ["run", &path, "--once", "--data-dir", &data];
    let output = millstream(&[&words[..], &FREE_PORTS].concat())?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        !Path::new(&data).exists(),
        "a broken manifest changes nothing"
    );
    Ok((dir, output))
}

#[test]
fn all_mistakes_of_a_manifest_are_reported_at_once() -> Result<()> {
    let text = "manifest = 1\npipeline = \"p\"\n[stage.a]\nplugin = \"./nowhere\"\ninputss = \"x\"\ninputs = 5\n";
    let (_dir, output) = broken_manifest(text)?;
    let said = String::from_utf8_lossy(&output.stderr);
    for part in [
        "pipeline.toml:4",
        "./nowhere",
        "pipeline.toml:5",
        "inputss",
        "pipeline.toml:6",
    ] {
        assert!(said.contains(part), "no {part} in:\n{said}");
    }
    Ok(())
}

#[test]
fn a_wasm_file_of_the_wrong_kind_is_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let wasm = dir.path().join("odd.wasm");
    std::fs::write(&wasm, b"\0asm\x01\0\0\0")?;
    let text = format!(
        "manifest = 1\npipeline = \"p\"\n[topic.x]\npartitions = 1\n[stage.a]\nplugin = \"{}\"\ninputs = \"x\"\noutputs = \"y\"\n",
        wasm.display()
    );
    let (_dir, output) = broken_manifest(&text)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("odd.wasm"), "{said}");
    Ok(())
}

#[test]
fn a_corrupt_segment_is_reported_with_file_and_position_and_not_served() -> Result<()> {
    let Some(program) = Client::Kcat.find() else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let node = NodeCommand::serve(&data).start()?;
    let address = node.kafka.to_string();
    kcat(
        &program,
        &["-b", &address, "-P", "-t", "bent"],
        b"straight\n",
    )?;
    kcat(
        &program,
        &["-b", &address, "-P", "-t", "sound"],
        b"straight\n",
    )?;
    assert!(node.stop()?.status.success());

    let segment = data.join("bent-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment)?;
    let last = bytes.len() - 3;
    bytes[last] ^= 0xff;
    std::fs::write(&segment, bytes)?;

    let log = dir.path().join("log");
    let node = NodeCommand::serve(&data)
        .stderr(std::fs::File::create(&log)?.into())
        .start()?;
    let address = node.kafka.to_string();
    let read = |topic: &str| {
        kcat(
            &program,
            &[
                "-b",
                &address,
                "-C",
                "-t",
                topic,
                "-o",
                "beginning",
                "-c",
                "1",
                "-e",
                "-q",
                "-m",
                "5",
            ],
            b"",
        )
    };
    let bent = read("bent").map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(
        !bent.is_ok_and(|text| text.contains("strai")),
        "damage was served"
    );
    assert_eq!(String::from_utf8(read("sound")?)?.trim(), "straight");
    let said = std::fs::read_to_string(&log)?;
    assert!(
        said.contains("bent-0/00000000000000000000.log") && said.contains("position"),
        "{said}"
    );
    Ok(())
}

/// Where nothing can be mounted this has nothing to say; `cargo xtask test` tells.
#[test]
fn a_full_disk_refuses_writes_loses_nothing_and_heals() -> Result<()> {
    let Some(program) = Client::Kcat.find() else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount(dir.path())? else {
        return Ok(());
    };
    // Something else that takes room, to be removed later.
    let ballast = disk.path.join("ballast");
    std::fs::write(&ballast, vec![0; BALLAST_BYTES])?;
    let log = dir.path().join("log");
    let node = NodeCommand::serve(&disk.path.join("data"))
        .stderr(std::fs::File::create(&log)?.into())
        .start()?;
    assert_eq!(node.http_get("/readyz")?.0, 200);
    let address = node.kafka.to_string();
    let produce = |line: &[u8]| {
        let arguments = [
            "-b",
            &address,
            "-P",
            "-t",
            "filling",
            "-X",
            "acks=all",
            "-X",
            "message.timeout.ms=3000",
        ];
        kcat(&program, &arguments, line)
    };
    let line = [b"x".repeat(700_000), b"\n".to_vec()].concat();
    let mut acknowledged = 0;
    while produce(&line).is_ok() {
        acknowledged += 1;
        assert!(acknowledged < 1_000, "a disk of 96 MiB never filled");
    }
    // It is the disk that refused, and whoever asks is told so.
    assert!(acknowledged > 0, "nothing was ever taken");
    let (code, said) = node.http_get("/readyz")?;
    assert_eq!(code, 503, "{said}");
    assert!(
        FULL.iter().any(|word| said.contains(word)),
        "no reason in: {said}"
    );
    let logged = std::fs::read_to_string(&log)?;
    assert!(
        logged.contains("full") && FULL.iter().any(|word| logged.contains(word)),
        "no reason in:\n{logged}"
    );
    let read = [
        "-b", &address, "-C", "-t", "filling", "-e", "-q", "-f", "%S\n",
    ];
    let count = |output: Vec<u8>| String::from_utf8_lossy(&output).lines().count();
    assert!(
        count(kcat(&program, &read, b"")?) >= acknowledged,
        "reads go on while the disk is full"
    );
    assert_eq!(node.http_get("/healthz")?.0, 200);

    // With room again it takes writes by itself.
    std::fs::remove_file(&ballast)?;
    let healed = (0..30).any(|_| {
        let taken = produce(b"room again\n").is_ok();
        if !taken {
            std::thread::sleep(Duration::from_millis(200));
        }
        taken
    });
    let logged = std::fs::read_to_string(&log)?;
    assert!(healed, "no write was taken with room again:\n{logged}");
    acknowledged += 1;
    assert_eq!(node.http_get("/readyz")?.0, 200, "{logged}");
    node.kill()?;

    let node = NodeCommand::serve(&disk.path.join("data")).start()?;
    let address = node.kafka.to_string();
    let read = [
        "-b", &address, "-C", "-t", "filling", "-e", "-q", "-f", "%S\n",
    ];
    assert!(
        count(kcat(&program, &read, b"")?) >= acknowledged,
        "an acknowledged record was lost"
    );
    Ok(())
}

/// Set by `cargo xtask test` when it could mount a small disk.
const MOUNTS: &str = "MILLSTREAM_TEST_MOUNTS";
/// Removed while the disk is full, which leaves room for a few segments' worth.
const BALLAST_BYTES: usize = 24 << 20;
/// How the reason of a full disk is worded, whichever file met it.
const FULL: [&str; 2] = ["No space left", "no room"];

/// A small tmpfs, unmounted when dropped.
struct SmallDisk {
    path: std::path::PathBuf,
}

impl SmallDisk {
    fn mount(dir: &Path) -> Result<Option<SmallDisk>> {
        let path = dir.join("small");
        std::fs::create_dir(&path)?;
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"])
            .arg(&path)
            .output()?;
        if !mount.status.success() {
            let why = String::from_utf8_lossy(&mount.stderr);
            assert!(
                std::env::var_os("CI").is_none() && std::env::var_os(MOUNTS).is_none(),
                "cannot mount a small disk: {why}"
            );
            eprintln!("left out: a full disk: cannot mount a small one: {why}");
            return Ok(None);
        }
        Ok(Some(SmallDisk { path }))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A failure leaves a mount behind, which the folder's removal then reports.
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.path)
            .status();
    }
}

#[test]
fn validate_says_ok_to_the_example() -> Result<()> {
    let manifest = root()
        .join("examples/01-flights/pipeline.toml")
        .display()
        .to_string();
    let output = millstream(&["validate", &manifest])?;
    assert!(output.status.success(), "{output:?}");
    Ok(())
}
