//! The HTTP listener and its routes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::index;
use crate::metrics::{MetricSource, registry};

/// Whether the node can do its work, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    NotReady { reason: String },
}

/// All that the console knows of the node.
#[derive(Clone)]
pub struct NodeHandles {
    pub metrics: Arc<dyn MetricSource>,
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// What is wrong beside the node, such as a stage that has stopped: shown, and no reason to restart the node.
    pub remarks: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error(
        "cannot listen on {addr} for HTTP: {source}; choose another with --http-addr (port 0 takes a free one)"
    )]
    Bind {
        addr: SocketAddr,
        source: std::io::Error,
    },
    #[error("the HTTP listener failed: {0}")]
    Serve(#[from] std::io::Error),
}

/// A running HTTP listener. Stop it with `shutdown`.
#[derive(Debug)]
pub struct Console {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<std::io::Result<()>>,
}

#[derive(Clone)]
struct Shared {
    registry: Arc<Registry>,
    readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    remarks: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl Shared {
    /// A status with the remarks below it, a line each.
    fn with_remarks(&self, status: String) -> String {
        let remarks = (self.remarks)();
        let lines = remarks.iter().map(|remark| format!("{remark}\n"));
        status + "\n" + &lines.collect::<String>()
    }
}

impl Console {
    pub async fn start(addr: SocketAddr, handles: NodeHandles) -> Result<Console, ConsoleError> {
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|source| ConsoleError::Bind { addr, source })?;
        let local_addr = listener.local_addr()?;
        let shared = Shared {
            registry: Arc::new(registry(handles.metrics)),
            readiness: handles.readiness,
            remarks: handles.remarks,
        };
        let routes = Router::new()
            .route("/", get(index::page))
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(shared);
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            axum::serve(listener, routes)
                .with_graceful_shutdown(async move {
                    // An error means that the sender is gone, which is a stop as well.
                    let _ = stopped.wait_for(|stop| *stop).await;
                })
                .await
        });
        Ok(Console {
            local_addr,
            stop,
            task,
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops taking connections and waits until the requests under way are answered.
    pub async fn shutdown(self) -> Result<(), ConsoleError> {
        self.stop.send_replace(true);
        match self.task.await {
            Ok(result) => Ok(result?),
            Err(join) => Err(ConsoleError::Serve(std::io::Error::other(join))),
        }
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shared.registry) {
        Ok(()) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The process answers: that is all that liveness means.
async fn healthz(State(shared): State<Shared>) -> String {
    shared.with_remarks("ok".to_owned())
}

async fn readyz(State(shared): State<Shared>) -> Response {
    match (shared.readiness)() {
        Readiness::Ready => shared.with_remarks("ready".to_owned()).into_response(),
        Readiness::NotReady { reason } => (
            StatusCode::SERVICE_UNAVAILABLE,
            shared.with_remarks(format!("not ready: {reason}")),
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::metrics::Sample;

    struct Nothing;

    impl MetricSource for Nothing {
        fn samples(&self) -> Vec<Sample> {
            Vec::new()
        }
    }

    fn request(addr: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn readiness_follows_the_node_and_both_name_what_has_stopped() {
        let ready = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ready);
        let readiness = Arc::new(move || {
            if seen.load(Ordering::SeqCst) {
                Readiness::Ready
            } else {
                Readiness::NotReady {
                    reason: "the journal is poisoned".into(),
                }
            }
        });
        let handles = NodeHandles {
            metrics: Arc::new(Nothing),
            readiness,
            remarks: Arc::new(|| vec!["stage clean of pipeline p has stopped".to_owned()]),
        };
        let console = Console::start("127.0.0.1:0".parse().unwrap(), handles)
            .await
            .unwrap();
        let addr = console.local_addr();
        let answers = tokio::task::spawn_blocking(move || {
            let before = request(addr, "/readyz");
            ready.store(true, Ordering::SeqCst);
            [
                before,
                request(addr, "/readyz"),
                request(addr, "/healthz"),
                request(addr, "/nothing"),
                request(addr, "/"),
            ]
        })
        .await
        .unwrap();
        assert!(answers[0].starts_with("HTTP/1.1 503"), "{}", answers[0]);
        assert!(
            answers[0].contains("the journal is poisoned"),
            "{}",
            answers[0]
        );
        assert!(answers[1].starts_with("HTTP/1.1 200"), "{}", answers[1]);
        assert!(answers[2].starts_with("HTTP/1.1 200"), "{}", answers[2]);
        assert!(answers[3].starts_with("HTTP/1.1 404"), "{}", answers[3]);
        // A stage that has stopped is named, and the status stays the node's.
        for answer in &answers[..3] {
            assert!(
                answer.ends_with("stage clean of pipeline p has stopped\n"),
                "{answer}"
            );
        }
        for path in ["/metrics", "/healthz", "/readyz"] {
            let link = format!("href=\"{path}\"");
            assert!(answers[4].contains(&link), "{}", answers[4]);
        }
        console.shutdown().await.unwrap();
    }
}
