//! The signal to stop, shared by the tasks of a stage.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::failure::Trouble;

/// Asks tasks to stop.
#[derive(Debug, Clone)]
pub struct StopSender(Arc<watch::Sender<bool>>);

/// Hears it.
#[derive(Debug, Clone)]
pub struct StopSignal(watch::Receiver<bool>);

impl Default for StopSender {
    fn default() -> Self {
        StopSender(Arc::new(watch::Sender::new(false)))
    }
}

impl StopSender {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    pub fn signal(&self) -> StopSignal {
        StopSignal(self.0.subscribe())
    }
}

impl StopSignal {
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for `future` unless it is time to stop. The future is dropped then.
    pub async fn unless_stopped<T>(
        &mut self,
        future: impl Future<Output = T>,
    ) -> Result<T, Trouble> {
        if self.is_stopped() {
            return Err(Trouble::Stopped);
        }
        tokio::select! {
            biased;
            outcome = future => Ok(outcome),
            // A sender that is gone asks for a stop as well.
            _ = self.0.wait_for(|stopped| *stopped) => Err(Trouble::Stopped),
        }
    }

    pub async fn sleep(&mut self, time: Duration) -> Result<(), Trouble> {
        self.unless_stopped(tokio::time::sleep(time)).await
    }
}

/// Growing pauses between attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

const PAUSE_FIRST: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: PAUSE_FIRST }
    }
}

impl Backoff {
    pub async fn pause(&mut self, stop: &mut StopSignal) -> Result<(), Trouble> {
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        stop.sleep(pause).await
    }
}
