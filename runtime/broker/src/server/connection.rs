//! One connection: requests are begun one after the other and answered in the same order.
//!
//! The next request is begun when the handler of the one before has returned. A handler may return while its answer
//! still waits for a flush ([`Reply::Later`]); so a producer that pipelines shares one flush over its requests. Only
//! a Produce overtakes such a wait: any other request sees what the requests before it have done. At most `millstream.max.in.flight.per.connection` answers wait; then reading pauses, and TCP pushes back.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use millstream_wire::ApiKey;
use thiserror::Error;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    sync::watch,
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    frame::{FrameBuffer, FrameLengthError},
    output::Output,
};
use crate::{
    api::{self, Later, Refusal, Reply},
    broker::Broker,
    context::RequestContext,
};

/// A frame may take a second longer for each of these.
const PARTIAL_BYTES_PER_SECOND: usize = 64 << 10;

/// No further request begins while so many bytes of answers wait to be sent: a client that asks for much and reads
/// nothing may not fill the memory.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

type Handler = Pin<Box<dyn Future<Output = Result<Reply, Refusal>> + Send>>;

/// An answer in its place in the order.
enum Slot {
    Ready(Vec<Bytes>),
    Waiting(Later),
}

/// Why a connection ends.
#[derive(Debug, Error)]
enum End {
    #[error("the client closed it")]
    ClosedByClient,
    #[error("the node shuts down")]
    Shutdown,
    #[error("it was idle for {idle:?}")]
    Idle { idle: Duration },
    #[error("a request did not arrive in time: {here} of {whole} bytes after {after:?}")]
    PartialFrame {
        here: usize,
        whole: usize,
        after: Duration,
    },
    #[error("the client does not read its answers")]
    NotReading,
    #[error(transparent)]
    FrameLength(#[from] FrameLengthError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(super) struct Connection {
    broker: Arc<Broker>,
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    closing: watch::Receiver<bool>,
    received: FrameBuffer,
    handler: Option<Handler>,
    answers: VecDeque<Slot>,
    output: Output,
    request_bytes_max: usize,
    in_flight_max: usize,
    idle: Duration,
    partial: Duration,
    active_at: Instant,
    /// When the frame that has not arrived whole began.
    frame_began: Option<Instant>,
    /// Armed for the earliest moment at which something may be overdue, and looked at again only when it fires.
    timer: Pin<Box<Sleep>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.broker.metrics().connections_open.fetch_sub(1, Relaxed);
    }
}

impl Connection {
    pub(super) fn new(
        broker: Arc<Broker>,
        stream: TcpStream,
        peer: SocketAddr,
        closing: watch::Receiver<bool>,
    ) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let config = broker.config();
        let millis = |setting: i64| Duration::from_millis(u64::try_from(setting).unwrap_or(1));
        // A time-out beyond a year is none; it must not overflow a point in time.
        let idle = millis(config.connections_max_idle_ms).min(Duration::from_secs(366 * 86_400));
        let partial = millis(config.partial_request_timeout_ms).min(idle);
        let request_bytes_max =
            usize::try_from(config.socket_request_max_bytes).unwrap_or(usize::MAX);
        let in_flight_max = usize::try_from(config.max_in_flight_per_connection).unwrap_or(1);
        let now = Instant::now();
        broker.metrics().connections_open.fetch_add(1, Relaxed);
        Ok(Connection {
            broker,
            stream,
            peer,
            local,
            closing,
            received: FrameBuffer::default(),
            handler: None,
            answers: VecDeque::new(),
            output: Output::default(),
            request_bytes_max,
            in_flight_max,
            idle,
            partial,
            active_at: now,
            frame_began: None,
            timer: Box::pin(sleep_until(now + idle)),
        })
    }

    pub(super) async fn run(mut self) {
        let end = match self.serve().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let quiet = matches!(
            end,
            End::ClosedByClient | End::Shutdown | End::Idle { .. } | End::Io(_)
        );
        if quiet {
            tracing::debug!(peer = %self.peer, reason = %end, "connection closed");
        } else {
            self.broker
                .metrics()
                .connections_refused
                .fetch_add(1, Relaxed);
            tracing::warn!(peer = %self.peer, reason = %end, "connection closed");
        }
        // What was asked for before is still answered, as far as the client takes it.
        if !matches!(end, End::Io(_) | End::NotReading) {
            let _ = self.drain().await;
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            let has_more = self.begin_requests().await?;
            let has_collected = self.collect_answers().await;
            self.send().await?;
            // A whole request may have waited for just these answers: no byte would come to wake us for it.
            if has_more || has_collected {
                continue;
            }
            self.arm_for_partial_frame();
            if self.handler.is_none() && *self.closing.borrow_and_update() {
                return Err(End::Shutdown);
            }
            self.wait().await?;
        }
    }

    /// Begins requests as long as whole ones are here and none of them keeps its handler busy. True when it paused
    /// because answers have to be sent first.
    async fn begin_requests(&mut self) -> Result<bool, End> {
        while self.handler.is_none() && self.may_begin() {
            if self.output.bytes() >= OUTPUT_BYTES_MAX {
                return Ok(true);
            }
            let Some(frame) = self.received.take(self.request_bytes_max)? else {
                return Ok(false);
            };
            self.frame_began = None;
            let mut handler = self.handle(frame)?;
            // Most requests are answered without waiting; those never reach the select below.
            match poll_fn(|context| Poll::Ready(handler.as_mut().poll(context))).await {
                Poll::Ready(reply) => self.place(reply?),
                Poll::Pending => self.handler = Some(handler),
            }
        }
        Ok(false)
    }

    /// Whether the next request may begin although answers wait.
    fn may_begin(&self) -> bool {
        if self.answers.is_empty() {
            return true;
        }
        let next = self.received.next_api_key(self.request_bytes_max);
        self.answers.len() < self.in_flight_max
            && next.is_none_or(|key| key == ApiKey::Produce as i16)
    }

    fn handle(&self, frame: Bytes) -> Result<Handler, Refusal> {
        let request = api::Incoming::parse(frame)?;
        self.broker.metrics().count_request(request.api());
        let context = RequestContext {
            broker: Arc::clone(&self.broker),
            api_version: request.version(),
            client_id: request.client_id(),
            peer: self.peer,
            local: self.local,
        };
        Ok(Box::pin(api::dispatch(context, request)))
    }

    fn place(&mut self, reply: Reply) {
        match reply {
            Reply::Silent => {}
            Reply::Ready(response) if self.answers.is_empty() => self.output.push(response),
            Reply::Ready(response) => self.answers.push_back(Slot::Ready(response)),
            Reply::Later(later) => self.answers.push_back(Slot::Waiting(later)),
        }
    }

    /// Moves the answers that are ready, up to the first that is not, to the output. True when there were any.
    async fn collect_answers(&mut self) -> bool {
        let mut has_collected = false;
        while let Some(slot) = self.answers.pop_front() {
            match slot {
                Slot::Ready(response) => self.output.push(response),
                Slot::Waiting(mut later) => {
                    match poll_fn(|context| Poll::Ready(later.as_mut().poll(context))).await {
                        Poll::Ready(response) => self.output.push(response),
                        Poll::Pending => {
                            self.answers.push_front(Slot::Waiting(later));
                            return has_collected;
                        }
                    }
                }
            }
            has_collected = true;
        }
        has_collected
    }

    async fn send(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let sent = timeout(self.idle, self.output.send(&mut self.stream))
            .await
            .map_err(|_| End::NotReading)??;
        self.broker.metrics().bytes_sent.fetch_add(sent, Relaxed);
        Ok(())
    }

    /// Waits for whatever comes first: the handler, the first answer, bytes, the shutdown, or a time-out.
    async fn wait(&mut self) -> Result<(), End> {
        let may_read = self.handler.is_none() && self.may_begin();
        tokio::select! {
            biased;
            reply = finished(&mut self.handler) => {
                self.handler = None;
                self.place(reply?);
            }
            response = first_answer(&mut self.answers) => {
                self.answers.pop_front();
                self.output.push(response);
            }
            read = self.stream.read_buf(self.received.room()), if may_read => {
                let received = read?;
                if received == 0 {
                    return Err(End::ClosedByClient);
                }
                self.active_at = Instant::now();
                self.broker.metrics().bytes_received.fetch_add(received as u64, Relaxed);
            }
            _ = self.closing.changed(), if may_read => {}
            () = self.timer.as_mut() => self.check_time_outs()?,
        }
        Ok(())
    }

    /// Answers what was begun, then says goodbye.
    async fn drain(&mut self) -> Result<(), End> {
        if let Some(handler) = self.handler.take() {
            let reply = handler.await?;
            self.place(reply);
        }
        while let Some(slot) = self.answers.pop_front() {
            let response = match slot {
                Slot::Ready(response) => response,
                Slot::Waiting(later) => later.await,
            };
            self.output.push(response);
        }
        self.send().await?;
        tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await?;
        Ok(())
    }

    /// How long the frame that has begun may take to arrive.
    fn frame_limit(&self, whole: usize) -> Duration {
        self.partial + Duration::from_secs((whole / PARTIAL_BYTES_PER_SECOND) as u64)
    }

    fn arm_for_partial_frame(&mut self) {
        let Some((_, whole)) = self.received.partial() else {
            self.frame_began = None;
            return;
        };
        if self.handler.is_some() || self.frame_began.is_some() {
            return;
        }
        let now = Instant::now();
        self.frame_began = Some(now);
        let deadline = now + self.frame_limit(whole);
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// The timer fired: either something is overdue, or it is armed for the next moment when something may be.
    fn check_time_outs(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let mut next = self.active_at + self.idle;
        if self.handler.is_some() || !self.answers.is_empty() {
            // Busy on our side is not idle.
            next = now + self.idle;
        } else if now >= next {
            return Err(End::Idle { idle: self.idle });
        } else if let (Some(began), Some((here, whole))) =
            (self.frame_began, self.received.partial())
        {
            let limit = self.frame_limit(whole);
            if now >= began + limit {
                return Err(End::PartialFrame {
                    here,
                    whole,
                    after: limit,
                });
            }
            next = next.min(began + limit);
        }
        self.timer.as_mut().reset(next);
        Ok(())
    }
}

/// The running handler's reply; never, when none runs.
async fn finished(handler: &mut Option<Handler>) -> Result<Reply, Refusal> {
    match handler {
        Some(handler) => handler.await,
        None => std::future::pending().await,
    }
}

/// The first answer in order; never, when there is none.
async fn first_answer(answers: &mut VecDeque<Slot>) -> Vec<Bytes> {
    match answers.front_mut() {
        Some(Slot::Waiting(later)) => later.await,
        Some(Slot::Ready(response)) => std::mem::take(response),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
