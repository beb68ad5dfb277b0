//! The disk's own flush: a plain loop of write and fdatasync on a preallocated file. It swings from
//! minute to minute, so it runs interleaved with what it is compared with.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

const FILE_BYTES: usize = 4 * 1_024 * 1_024;
const WRITE_BYTES: usize = 512;
/// Rare enough not to disturb what is measured.
const PAUSE: Duration = Duration::from_millis(50);

/// Flushes now and then until it is stopped.
#[derive(Debug)]
pub struct FlushProbe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Histogram<u64>>>,
}

/// Milliseconds of one flush.
#[derive(Debug, Clone, Copy)]
pub struct FlushTimes {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl FlushProbe {
    /// `dir` must lie on the disk that the node writes to.
    pub fn start(dir: &Path) -> FlushProbe {
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, path) = (Arc::clone(&stop), dir.join("flush-probe"));
        FlushProbe {
            stop,
            thread: std::thread::spawn(move || measure(&path, &seen)),
        }
    }

    pub fn stop(self) -> Result<FlushTimes> {
        self.stop.store(true, Ordering::SeqCst);
        let histogram = self.thread.join().expect("the probe does not panic")?;
        let milliseconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Ok(FlushTimes {
            p50_ms: milliseconds(0.5),
            p99_ms: milliseconds(0.99),
        })
    }
}

fn measure(path: &PathBuf, stop: &AtomicBool) -> Result<Histogram<u64>> {
    let file = File::create(path)?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    let mut histogram = Histogram::new(3)?;
    let mut position = 0;
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        file.write_all_at(&[1; WRITE_BYTES], position)?;
        file.sync_data()?;
        histogram.record(u64::try_from(begun.elapsed().as_nanos())?)?;
        position = (position + WRITE_BYTES as u64) % FILE_BYTES as u64;
        std::thread::sleep(PAUSE);
    }
    std::fs::remove_file(path)?;
    Ok(histogram)
}
