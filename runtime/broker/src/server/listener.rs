//! The listener: takes connections, owns their tasks, and joins them at the end.

use std::{io, net::SocketAddr, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use super::connection::Connection;
use crate::{broker::Broker, config::BrokerConfig};

/// Connections that the kernel may hold ready for us.
const BACKLOG: u32 = 1_024;
/// Pause after a failed accept (no descriptor left), so that the loop does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listener cannot be opened.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// An open listener as its user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerHandle {
    /// The address with the port that was really taken.
    pub local_addr: SocketAddr,
    /// What the system gives each connection, which may be more than was asked for.
    pub send_buffer_bytes: u32,
    pub receive_buffer_bytes: u32,
}

/// An open listener as its owner keeps it.
pub(crate) struct Listener {
    task: JoinHandle<()>,
}

impl Listener {
    pub(crate) async fn bind(
        broker: Arc<Broker>,
        address: SocketAddr,
        closing: watch::Receiver<bool>,
    ) -> Result<(Listener, ListenerHandle), ListenError> {
        let failed = |source| ListenError { address, source };
        let socket = bound(address, &broker.config()).map_err(failed)?;
        let handle = describe(&socket).map_err(failed)?;
        let listener = socket.listen(BACKLOG).map_err(failed)?;
        let task = tokio::spawn(accept_loop(broker, listener, closing));
        Ok((Listener { task }, handle))
    }

    /// Waits until every connection has ended, at most until `until`; then cuts off the rest.
    pub(crate) async fn join(mut self, until: Instant) {
        if tokio::time::timeout_at(until, &mut self.task)
            .await
            .is_err()
        {
            // Dropping the accept loop drops its connections.
            self.task.abort();
            tracing::warn!(
                "connections were still busy at the shutdown's deadline and were cut off"
            );
        }
    }
}

fn bound(address: SocketAddr, config: &BrokerConfig) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit both sizes; -1 leaves them to the system.
    if let Ok(bytes) = u32::try_from(config.socket_send_buffer_bytes) {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Ok(bytes) = u32::try_from(config.socket_receive_buffer_bytes) {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(address)?;
    Ok(socket)
}

fn describe(socket: &TcpSocket) -> io::Result<ListenerHandle> {
    Ok(ListenerHandle {
        local_addr: socket.local_addr()?,
        send_buffer_bytes: socket.send_buffer_size()?,
        receive_buffer_bytes: socket.recv_buffer_size()?,
    })
}

async fn accept_loop(
    broker: Arc<Broker>,
    listener: TcpListener,
    mut closing: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    while !*closing.borrow_and_update() {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => take(&broker, stream, peer, &closing, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => report(ended),
            _ = closing.changed() => break,
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

fn take(
    broker: &Arc<Broker>,
    stream: TcpStream,
    peer: SocketAddr,
    closing: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let metrics = broker.metrics();
    metrics.connections_accepted.fetch_add(1, Relaxed);
    let max = usize::try_from(broker.config().max_connections).unwrap_or(usize::MAX);
    if connections.len() >= max {
        tracing::warn!(%peer, max, "more connections than max.connections; this one is closed");
        metrics.connections_refused.fetch_add(1, Relaxed);
        return;
    }
    match Connection::new(Arc::clone(broker), stream, peer, closing.clone()) {
        Ok(connection) => drop(connections.spawn(connection.run())),
        Err(error) => tracing::debug!(%peer, %error, "a connection ended before it began"),
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        // A panic is our bug, not the client's: this connection is gone, the others go on.
        tracing::error!(%error, "a connection's task failed");
    }
}
