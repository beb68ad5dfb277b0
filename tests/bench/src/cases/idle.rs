//! Memory and CPU of a node that has just started and has nothing to do.

use std::time::Duration;

use anyhow::Result;

use crate::probe::process::{cpu_seconds, resident_mb};
use crate::report::Figure;
use crate::system::{self, Durability, Setup, SystemKind};

const SETTLE: Duration = Duration::from_secs(5);
const WATCH: Duration = Duration::from_secs(10);

pub fn run(kind: SystemKind, _scale: f64) -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let setup = Setup {
        settings: &[],
        data_dir: dir.path(),
        durability: Durability::Os,
        pipeline: None,
    };
    let system = system::start(kind, &setup)?;
    std::thread::sleep(SETTLE);
    let resident = resident_mb(&system.processes())?;
    let before = cpu_seconds(&system.processes())?;
    std::thread::sleep(WATCH);
    let cpu = cpu_seconds(&system.processes())? - before;
    Ok(vec![
        Figure::new("resident_mb", resident).aim("< 40"),
        Figure::new("cpu_percent_of_a_core", cpu / WATCH.as_secs_f64() * 100.0),
    ])
}
