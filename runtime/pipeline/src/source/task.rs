//! The task of a source: rows in, transactions of records and progress out.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::error::SourceError;
use super::progress::{self, FileStamp, Progress};
use super::reader::RowReader;
use super::rows::{RowBatch, RowView};
use crate::manifest::{RejectPolicy, SourceSection};
use crate::plan::SourcePlan;
use crate::ports::{Engine, PortError, SOURCES_TOPIC};
use crate::task::dead_letter::{CODE_OUTPUT_MISFIT, CODE_UNUSABLE_ROW, Refusal};
use crate::task::outbox::{Misfit, Outbox, Outgoing, OutputTopic};
use crate::task::stop::{StopSender, StopSignal};
use crate::task::writer::{Writer, unbuildable};
use crate::task::{
    Counts, Retry, TaskFailure, TaskState, TaskStatus, Trouble, advice as port_advice,
};

/// Batches that the reading thread may be ahead.
const BATCHES_AHEAD: usize = 2;
/// A paced source hands out its rows this often, or one by one when they are rarer.
const PACE: Duration = Duration::from_millis(5);
/// Where the source's topics stand in the outbox; dead letters only with the policy that sends them.
const RECORDS: usize = 0;
const PROGRESS: usize = 1;
const DEAD_LETTERS: usize = 2;

/// What the task of a source needs.
pub struct SourceContext<E: Engine> {
    pub engine: E,
    pub pipeline: String,
    pub source: SourcePlan,
    pub commit_interval_max: Duration,
    pub stop: StopSender,
}

/// Runs a source to the end of its file, or until it is stopped, fenced, or cannot go on.
pub async fn run_source_task<E: Engine>(context: Arc<SourceContext<E>>, status: Arc<TaskStatus>) {
    let mut stop = context.stop.signal();
    let mut retry = Retry::default();
    loop {
        let before = status.snapshot().counts.transactions;
        let trouble = match session(&context, &status, stop.clone()).await {
            Ok(()) => {
                status.set_state(TaskState::Done);
                return;
            }
            Err(trouble) => trouble,
        };
        if status.snapshot().counts.transactions > before {
            retry = Retry::default();
        }
        let describe =
            |error: &PortError| context.failure(error.to_string(), port_advice(error).to_owned());
        let Some(state) = retry.after(trouble, describe, &status, &mut stop).await else {
            continue;
        };
        if let TaskState::Failed(failure) = &state {
            tracing::error!("{failure}");
        }
        status.set_state(state);
        return;
    }
}

/// Produces the rest of the file under one lease.
async fn session<E: Engine>(
    context: &SourceContext<E>,
    status: &TaskStatus,
    mut stop: StopSignal,
) -> Result<(), Trouble> {
    let engine = &context.engine;
    let section = &context.source.section;
    let lease = stop
        .unless_stopped(engine.acquire_task(&context.source.task, None))
        .await??;
    let key = progress::key(&context.source.task);
    let settings_version = engine.settings_version();
    let mut topics = vec![
        OutputTopic::find(engine, &context.source.topic).await?,
        OutputTopic::find(engine, SOURCES_TOPIC).await?,
    ];
    if let Some(dead) = &context.source.dead_letters {
        topics.push(OutputTopic::find(engine, dead).await?);
    }
    let topic_id = topics[RECORDS].info.id;
    let mut known = stop.unless_stopped(progress::read(engine, &key)).await??;
    if let Some(progress) = known.take_if(|progress| progress.is_of_another_topic(topic_id)) {
        let topic = &context.source.topic;
        tracing::info!(file = %progress.file, %topic, "the topic was made anew since it was fed: the file is read from its beginning");
    }
    status.started(&[]);
    let outbox = Outbox::new(&lease, topics, 0);
    let mut producer = Producer {
        context,
        status,
        writer: Writer::new(
            engine.clone(),
            lease,
            outbox,
            context.commit_interval_max,
            settings_version,
        ),
        stop,
        key,
        topic_id,
        pending: Counts::none(0, 1),
        newest: None,
    };
    if let Some(progress) = &mut known
        && progress.topic_id.is_none()
    {
        // From an older version. Once the topic is made anew, nothing would tell.
        progress.topic_id = Some(topic_id.to_string());
        producer.newest = Some(progress.clone());
        producer.commit().await?;
    }
    let stamp = FileStamp::of(&section.file).ok();
    let file_bytes = stamp.as_ref().map_or(0, |stamp| stamp.bytes);
    if let Some(progress) = &known
        && progress.stamp.is_some()
        && progress.stamp == stamp
    {
        status.reading(Arc::new(file_bytes.into()), file_bytes);
        return Ok(());
    }
    let read = Arc::new(AtomicU64::new(0));
    status.reading(Arc::clone(&read), file_bytes);
    let (rows, reader) = start_reading(section.clone(), known, read)?;
    let outcome = producer.produce(rows).await;
    if outcome.is_err() {
        producer.writer.abandon().await;
    }
    // The channel is closed by now, so the thread ends with its next batch.
    if let Err(error) = reader.await {
        tracing::error!(%error, "the thread that read a source's file failed");
    }
    outcome
}

type Rows = mpsc::Receiver<Result<RowBatch, SourceError>>;

/// Reads the file on a thread of its own: decompression and parsing go on while commits wait, and
/// a slow disk holds up nobody else.
fn start_reading(
    section: SourceSection,
    known: Option<Progress>,
    read: Arc<AtomicU64>,
) -> Result<(Rows, JoinHandle<()>), PortError> {
    let from = match &known {
        Some(progress) => Some((progress.checkpoint()?, progress.done)),
        None => None,
    };
    let rows_max = match section.rate {
        Some(rate) => (rate as f64 * PACE.as_secs_f64()) as usize,
        None => usize::MAX,
    };
    let (sender, rows) = mpsc::channel(BATCHES_AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        let open = || -> Result<RowReader, SourceError> {
            let mut reader = RowReader::open(&section, read)?;
            if let Some((checkpoint, done)) = &from {
                reader.resume(checkpoint, *done)?;
            }
            Ok(reader)
        };
        let mut reader = match open() {
            Ok(reader) => reader,
            Err(error) => return drop(sender.blocking_send(Err(error))),
        };
        loop {
            let batch = reader.next_batch(rows_max);
            let ended = !matches!(&batch, Ok(batch) if !batch.last);
            if sender.blocking_send(batch).is_err() || ended {
                return;
            }
        }
    });
    Ok((rows, reader))
}

/// Turns rows into transactions.
struct Producer<'s, E: Engine> {
    context: &'s SourceContext<E>,
    status: &'s TaskStatus,
    writer: Writer<E>,
    stop: StopSignal,
    key: String,
    /// The topic that is fed.
    topic_id: Uuid,
    /// Work of the open transaction.
    pending: Counts,
    /// Progress behind them.
    newest: Option<Progress>,
}

impl<E: Engine> Producer<'_, E> {
    async fn produce(&mut self, mut rows: Rows) -> Result<(), Trouble> {
        let section = &self.context.source.section;
        let started = Instant::now();
        let mut produced = 0_u64;
        loop {
            let next = match self.stop.unless_stopped(rows.recv()).await {
                Ok(next) => next,
                Err(stopped) => {
                    self.commit().await?;
                    return Err(stopped);
                }
            };
            let Some(batch) = next else {
                return Err(self
                    .failure("the thread that reads its file has ended", "")
                    .into());
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    // What was sound is produced before the source stops.
                    self.commit().await?;
                    return Err(self.failure(&error.to_string(), error.advice()).into());
                }
            };
            self.writer.start_clock();
            self.writer.check_topics().await?;
            self.put(&batch)?;
            self.writer.send_ready(&mut self.stop).await?;
            produced += batch.len() as u64;
            if batch.last || section.rate.is_some() || self.writer.is_due() {
                self.commit().await?;
            }
            if batch.last {
                return Ok(());
            }
            if let Some(rate) = section.rate {
                let due = started + Duration::from_secs_f64(produced as f64 / rate as f64);
                let wait = due.saturating_duration_since(Instant::now());
                self.stop.sleep(wait).await?;
            }
        }
    }

    fn put(&mut self, batch: &RowBatch) -> Result<(), Trouble> {
        let now = now_ms();
        let first = batch.end.records - batch.len() as u64 + 1;
        for (number, row) in (first..).zip(batch.iter()) {
            match row.refused {
                Some(reason) => self.refuse(number, row, now, (CODE_UNUSABLE_ROW, reason))?,
                None => self.put_row(number, row, now)?,
            }
        }
        self.pending.records_in += batch.len() as u64;
        let section = &self.context.source.section;
        let stamp = match batch.last {
            true => FileStamp::of(&section.file).ok(),
            false => None,
        };
        self.newest = Some(Progress::new(
            section.file_text.get_ref(),
            &batch.end,
            stamp,
            self.topic_id,
        ));
        Ok(())
    }

    fn put_row(&mut self, number: u64, row: RowView<'_>, now: i64) -> Result<(), Trouble> {
        let record = Outgoing {
            partition: None,
            timestamp: row.timestamp.unwrap_or(now),
            key: row.key,
            value: Some(row.value),
            headers: std::iter::empty(),
        };
        let outbox = &mut self.writer.outbox;
        match outbox.check(RECORDS, &record) {
            Ok(()) => {
                outbox.put(RECORDS, &record).map_err(unbuildable)?;
                self.pending.records_out[0] += 1;
                Ok(())
            }
            Err(misfit) if self.on_error() == RejectPolicy::Fail => {
                Err(self.misfit(number, "", &misfit).into())
            }
            Err(misfit) => {
                let message = misfit.to_string();
                self.refuse(number, row, now, (CODE_OUTPUT_MISFIT, &message))
            }
        }
    }

    /// A row that cannot be used, or does not fit its topic, by a policy that goes on.
    fn refuse(
        &mut self,
        number: u64,
        row: RowView<'_>,
        now: i64,
        (code, message): (u32, &str),
    ) -> Result<(), Trouble> {
        if self.on_error() == RejectPolicy::Skip {
            self.pending.skipped += 1;
            return Ok(());
        }
        let source = &self.context.source;
        let refusal = Refusal {
            pipeline: &self.context.pipeline,
            stage: &source.task.stage,
            topic: source.section.file_text.get_ref(),
            partition: 0,
            offset: i64::try_from(number).unwrap_or(i64::MAX),
            code,
            message,
        };
        let values = refusal.values();
        let record = Outgoing {
            partition: None,
            timestamp: row.timestamp.unwrap_or(now),
            key: row.key,
            value: Some(row.value),
            headers: values.headers(),
        };
        let outbox = &mut self.writer.outbox;
        if let Err(misfit) = outbox.check_dead_letter(DEAD_LETTERS, &record) {
            let what = "it cannot be sent to the dead letters: ";
            return Err(self.misfit(number, what, &misfit).into());
        }
        outbox.put(DEAD_LETTERS, &record).map_err(unbuildable)?;
        self.pending.dead_letters += 1;
        Ok(())
    }

    fn on_error(&self) -> RejectPolicy {
        self.context.source.section.on_error
    }

    fn misfit(&self, row: u64, what: &str, misfit: &Misfit) -> TaskFailure {
        let file = self.context.source.section.file_text.get_ref();
        let advice = match misfit {
            Misfit::NoKey { .. } => {
                "Name a `key` that every row has, or take `compact` out of the topic's cleanup.policy"
            }
            Misfit::CompactedDeadLetters { .. } => {
                "Take `compact` out of the topic's cleanup.policy, or name another one as `dead_letters`"
            }
            _ => "Raise max.message.bytes of the topic, or correct the file",
        };
        self.failure(&format!("{file}, row {row}: {what}{misfit}"), advice)
    }

    /// Commits the rows of the open transaction together with the progress behind them.
    async fn commit(&mut self) -> Result<(), Trouble> {
        let Some(progress) = self.newest.take() else {
            return Ok(());
        };
        let value = progress.to_json();
        let record = Outgoing {
            partition: Some(progress::PARTITION),
            timestamp: now_ms(),
            key: Some(self.key.as_bytes()),
            value: Some(&value),
            headers: std::iter::empty(),
        };
        let outbox = &mut self.writer.outbox;
        outbox.put(PROGRESS, &record).map_err(unbuildable)?;
        self.writer.commit(&[], &mut self.stop).await?;
        let counts = self.pending.take();
        self.status.committed(&counts, &[], |_| {});
        Ok(())
    }

    fn failure(&self, reason: &str, advice: &str) -> TaskFailure {
        self.context.failure(reason.to_owned(), advice.to_owned())
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as i64)
}

impl<E: Engine> SourceContext<E> {
    fn failure(&self, reason: String, advice: String) -> TaskFailure {
        TaskFailure {
            pipeline: self.pipeline.clone(),
            stage: self.source.task.stage.clone(),
            place: None,
            reason,
            advice,
        }
    }
}
