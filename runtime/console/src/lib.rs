//! The node's HTTP side: `/metrics`, `/healthz`, `/readyz`, and a page of links to them.
//! Must not know: the broker, the log, pipelines. It is given handles (`NodeHandles`) and asks nothing else.
//! Read `server.rs` first, then `metrics.rs`.

mod index;
mod metrics;
mod server;

pub use metrics::{MetricKind, MetricSource, Sample};
pub use server::{Console, ConsoleError, NodeHandles, Readiness};
