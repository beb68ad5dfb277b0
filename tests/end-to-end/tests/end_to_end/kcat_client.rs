//! kcat (librdkafka 2.0.2) against a node.

use anyhow::Result;
use millstream_end_to_end::{Client, NodeCommand, kcat};
use millstream_oracle::parse_kcat;

#[test]
fn kcat_produces_and_consumes_keys_and_headers() -> Result<()> {
    let Some(program) = Client::Kcat.find() else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let node = NodeCommand::serve(&dir.path().join("data")).start()?;
    let address = node.kafka.to_string();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("with-{codec}");
        let produce = [
            "-b",
            &address,
            "-P",
            "-t",
            &topic,
            "-K",
            ":",
            "-H",
            "origin=kcat",
            "-H",
            "empty",
            "-z",
            codec,
        ];
        kcat(&program, &produce, b"a:one\nb:two\na:three\n")?;
        let consume = ["-b", &address, "-C", "-t", &topic, "-e", "-q", "-J"];
        let records = parse_kcat(kcat(&program, &consume, b"")?.as_slice())?;
        let pairs: Vec<_> = records
            .iter()
            .map(|record| (text(&record.key), text(&record.value)))
            .collect();
        assert_eq!(
            pairs,
            [("a", "one"), ("b", "two"), ("a", "three")]
                .map(|(k, v)| (k.to_string(), v.to_string()))
        );
        for record in &records {
            assert_eq!(record.header("origin"), Some(b"kcat".as_slice()), "{codec}");
            assert_eq!(record.headers.len(), 2, "{codec}");
        }
    }
    Ok(())
}

#[test]
fn what_kcat_wrote_survives_a_kill_and_a_clean_stop() -> Result<()> {
    let Some(program) = Client::Kcat.find() else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let mut expected = Vec::new();
    for round in 0..4 {
        let node = NodeCommand::serve(&data).start()?;
        let address = node.kafka.to_string();
        kcat(
            &program,
            &["-b", &address, "-P", "-t", "kept", "-X", "acks=all"],
            format!("round {round}\n").as_bytes(),
        )?;
        expected.push(format!("round {round}"));
        if round % 2 == 0 {
            node.kill()?;
        } else {
            let stopped = node.stop()?;
            assert!(stopped.status.success(), "{stopped:?}");
        }
    }
    let node = NodeCommand::serve(&data).start()?;
    let address = node.kafka.to_string();
    let found = String::from_utf8(kcat(
        &program,
        &["-b", &address, "-C", "-t", "kept", "-e", "-q"],
        b"",
    )?)?;
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    Ok(())
}

fn text(bytes: &Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
}
