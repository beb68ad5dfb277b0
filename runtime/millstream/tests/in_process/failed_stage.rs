//! A stage that has stopped is seen wherever somebody may look: metrics, readiness, health, its consumer group.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use millstream::engine::LocalEngine;
use millstream::node::{Ground, Node};
use millstream::settings::{Flush, NodeSettings};
use millstream_pipeline::run::{Workers, run};
use millstream_pipeline::testing::FunctionPlugin;
use millstream_plugin_host::PluginFailure;
use millstream_records::{BatchBuilder, BatchOptions};
use tokio::time::Instant;

use crate::rig::{PATIENCE, plan};

const BODY: &str =
    "[stage.route]\nplugin = \"route\"\ninputs = \"in\"\noutputs = { out = \"out\" }\n";

fn settings(dir: &std::path::Path) -> NodeSettings {
    NodeSettings {
        data_dir: dir.join("data"),
        kafka_addr: ([127, 0, 0, 1], 0).into(),
        http_addr: ([127, 0, 0, 1], 0).into(),
        flush: Flush::Os,
        node_id: 1,
        broker: BTreeMap::from([
            ("offsets.topic.num.partitions".to_owned(), "1".to_owned()),
            (
                "transaction.state.log.num.partitions".to_owned(),
                "1".to_owned(),
            ),
        ]),
    }
}

/// Traps at this value and sends the others on, one a call.
fn stops_at(value: &'static str) -> FunctionPlugin {
    let plugin = FunctionPlugin::new(1, move |event, call| {
        if event.value == Some(value.as_bytes()) {
            return Err(PluginFailure::Trap {
                reason: "unreachable".into(),
                panic: None,
                backtrace: Vec::new(),
            });
        }
        call.emit(0, event.key, event.value);
        Ok(())
    });
    plugin.consuming(1)
}

async fn get(address: SocketAddr, path: &'static str) -> String {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    asked.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_stage_is_named_by_metrics_readiness_health_and_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&settings(dir.path()), Ground::default()).await;
    let node = node.unwrap_or_else(|failure| panic!("{:#}", failure.error));
    let local = node.broker().local();
    local.ensure_topic("in", Some(1), &[]).await.unwrap();
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for value in ["a", "b", "stop", "d"] {
        batch
            .append(1_000, Some(b"k"), Some(value.as_bytes()), [])
            .unwrap();
    }
    let mut batch = batch.build().unwrap();
    local
        .append(None, "in", 0, &mut batch, Duration::from_secs(10))
        .await
        .unwrap();

    let engine = LocalEngine::new(node.broker());
    let plan = plan(BODY, &["out"], &engine).await.unwrap();
    let plugins = BTreeMap::from([("route".to_owned(), Arc::new(stops_at("stop")))]);
    let workers = Workers::new(Some(1)).unwrap();
    let running = run(plan, engine, plugins, &workers).await.unwrap();
    node.pipelines().add(running.watch());
    let until = Instant::now() + PATIENCE;
    while running.is_alive() {
        assert!(Instant::now() < until, "the stage does not stop");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let http = node.http_addr();
    for path in ["/readyz", "/healthz"] {
        let answer = get(http, path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let named =
            "pipeline p, stage route, topic in, partition 0, offsets 2 to 3: the plugin failed";
        assert!(answer.contains(named), "{path}: {answer}");
    }
    let metrics = get(http, "/metrics").await;
    let task = "{pipeline=\"p\",stage=\"route\",partition=\"0\"";
    for series in [
        format!("millstream_stage_state{task},state=\"failed\",reason=\"pipeline p, stage route"),
        format!("millstream_stage_records_in_total{task}}}"),
        format!("millstream_stage_records_out_total{task},output=\"out\",topic=\"out\"}}"),
        format!("millstream_stage_records_refused_total{task}}}"),
        format!("millstream_stage_dead_letters_total{task}}}"),
        format!("millstream_stage_commits_total{task}}}"),
        format!("millstream_stage_restarts_total{task}}}"),
        format!("millstream_stage_guest_cpu_seconds_total{task}}}"),
    ] {
        assert!(
            metrics.contains(&series),
            "{series} is missing in:\n{metrics}"
        );
    }
    let described = describe_group(node.kafka_addr()).await;
    assert!(
        described.contains("stopped: pipeline p, stage route, topic in, partition 0, offsets 2"),
        "{described}"
    );
    running.stop(PATIENCE).await;
    node.stop().await.unwrap();
}

/// As the command line shows the stage's group.
async fn describe_group(node: SocketAddr) -> String {
    let asked = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args(["group", "describe", "millstream.p.route", "--node"])
            .arg(node.to_string())
            .output()
            .unwrap()
    });
    let output = asked.await.unwrap();
    let (out, error) = (output.stdout, output.stderr);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&error)
    );
    String::from_utf8(out).unwrap()
}
