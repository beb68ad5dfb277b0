//! What is measured, a file each.

mod batches;
pub mod client;
mod compaction;
mod engine;
mod idle;
mod latency;
mod pipeline;
mod raw;
mod restart;
mod start;
mod transactions;

use anyhow::Result;

use crate::report::Figure;
use crate::system::SystemKind;

/// One thing that is measured: run against a system, at a scale.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub run: fn(SystemKind, f64) -> Result<Vec<Figure>>,
}

pub const CASES: &[Case] = &[
    Case {
        name: "pipeline",
        run: pipeline::run,
    },
    Case {
        name: "latency-os",
        run: latency::run_os,
    },
    Case {
        name: "latency-flushed",
        run: latency::run_flushed,
    },
    Case {
        name: "transactions",
        run: transactions::run,
    },
    Case {
        name: "start",
        run: start::run,
    },
    Case {
        name: "idle",
        run: idle::run,
    },
    Case {
        name: "log-append",
        run: engine::append,
    },
    Case {
        name: "log-flush",
        run: engine::flush,
    },
    Case {
        name: "log-read",
        run: engine::read,
    },
    Case {
        name: "compaction",
        run: compaction::run,
    },
    Case {
        name: "restart",
        run: restart::run_thousand,
    },
    Case {
        name: "restart-many",
        run: restart::run_ten_thousand,
    },
];
