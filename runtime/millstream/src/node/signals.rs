//! SIGINT and SIGTERM: both ask the node to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Which signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    Interrupt,
    Terminate,
}

/// From this call on neither signal ends the process; the future waits for the first of the two.
pub fn stop_signal() -> std::io::Result<impl Future<Output = StopSignal>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => StopSignal::Interrupt,
            _ = terminate.recv() => StopSignal::Terminate,
        }
    })
}
