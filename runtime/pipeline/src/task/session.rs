//! One stage task under one lease: from InitProducerId to the error (or the wish to stop) that ends
//! it. Whatever goes wrong, the next session begins at the committed offsets with a fresh plugin.

mod troubles;

use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_plugin_host::frames::seed;
use millstream_plugin_host::{InputBinding, Limits, OpenContext, PluginFailure};
use millstream_records::{TimestampType, batches};

use super::StageContext;
use super::aborted::{AbortedFilter, Verdict};
use super::failure::{Place, TaskFailure, Trouble};
use super::frames::{FrameWriter, RunSource};
use super::input::{Input, wait_for_any};
use super::outbox::{Outbox, OutputTopic};
use super::route::{From, RouteError, Routes};
use super::status::{Counts, TaskStatus};
use super::stop::{Backoff, StopSignal};
use super::writer::Writer;
use crate::ports::{Engine, InputChunk, InputPartition, PortError};
use crate::processor::{Processor, ProcessorFactory};

/// Bytes of one read.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Before a read is repeated that gave nothing though something was there.
const EMPTY_READ_PAUSE: Duration = Duration::from_millis(1);
/// A batch that would grow beyond this when it is decompressed is not taken.
const DECOMPRESSED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Effects of one call, in bytes.
const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The state of a stage task between two errors.
pub struct Session<'t, E: Engine, F: ProcessorFactory> {
    context: &'t StageContext<E, F>,
    status: &'t TaskStatus,
    stop: StopSignal,
    writer: Writer<E>,
    routes: Routes,
    inputs: Vec<Input<E::Input>>,
    /// The input to look at next.
    turn: usize,
    frames: FrameWriter,
    processor: F::Processor,
    /// Work of the open transaction.
    counts: Counts,
    /// Transactions committed since the task was acquired.
    pub commits: u64,
}

impl<'t, E: Engine, F: ProcessorFactory> Session<'t, E, F> {
    /// Starts in the order that keeps exactly-once: acquire (which settles and fences the
    /// forerunner), open the inputs, read the offsets. An offset that is read then is one of the
    /// topic that was opened, or the topic has gone and the input says so.
    pub async fn open(
        context: &'t StageContext<E, F>,
        partition: i32,
        status: &'t TaskStatus,
        mut stop: StopSignal,
    ) -> Result<Self, Trouble> {
        let stage = &context.stage;
        let engine = &context.engine;
        let task = stage.task(&context.pipeline_id, partition);
        let claim = stage.claim(partition);
        let lease = stop
            .unless_stopped(engine.acquire_task(&task, Some(&claim)))
            .await??;
        let mut ports = Vec::with_capacity(claim.partitions.len());
        for place in &claim.partitions {
            ports.push(engine.task_input(&lease, &place.0, place.1).await?);
        }
        let mut backoff = Backoff::default();
        let committed = loop {
            match engine.committed(&claim.group, &claim.partitions).await {
                Err(PortError::UnstableOffsets { .. }) => backoff.pause(&mut stop).await?,
                outcome => break outcome?,
            }
        };
        let mut inputs = Vec::with_capacity(claim.partitions.len());
        for ((place, committed), port) in claim.partitions.iter().zip(&committed).zip(ports) {
            let seed = seed::run_seed(&place.0, place.1);
            let start = &stage.if_no_offset;
            inputs.push(Input::start(place.clone(), port, seed, *committed, start).await?);
        }
        report_gone(context, &inputs, status);
        let settings_version = engine.settings_version();
        let (topics, routes) = lay_out(context).await?;
        let outbox = Outbox::new(&lease, topics, partition.unsigned_abs());
        let processor = context.open_processor(partition).await?;
        status.started(&committed);
        let counts = Counts::none(stage.inputs.len(), stage.outputs.len());
        Ok(Session {
            context,
            status,
            stop,
            writer: Writer::new(
                engine.clone(),
                lease,
                outbox,
                context.commit_interval_max,
                settings_version,
            ),
            routes,
            inputs,
            turn: 0,
            frames: FrameWriter::new(&context.pipeline, &stage.name),
            processor,
            counts,
            commits: 0,
        })
    }

    /// Works until something ends it, and gives up what was not committed.
    pub async fn work(&mut self) -> Trouble {
        loop {
            if let Err(trouble) = self.round().await {
                self.writer.abandon().await;
                return trouble;
            }
        }
    }

    /// Reads and processes one chunk, or waits for one; commits when everything is done that there
    /// is to do.
    async fn round(&mut self) -> Result<(), Trouble> {
        let count = self.inputs.len();
        let next = (0..count)
            .map(|step| (self.turn + step) % count)
            .find(|&index| self.inputs[index].readable);
        if let Some(index) = next {
            self.turn = (index + 1) % count;
            let input = &mut self.inputs[index];
            let chunk = input.port.read(input.read, CHUNK_BYTES).await?;
            input.saw_end(chunk.last_stable);
            self.status.saw_end(index, chunk.last_stable);
            self.take(index, &chunk).await?;
        }
        let caught_up = !self.inputs.iter().any(|input| input.readable);
        if (caught_up || self.stop.is_stopped()) && self.inputs.iter().any(Input::is_ahead) {
            self.commit().await?;
        }
        if self.stop.is_stopped() {
            return Err(Trouble::Stopped);
        }
        if caught_up {
            let inputs = &mut self.inputs;
            self.stop.unless_stopped(wait_for_any(inputs)).await??;
        } else {
            // An engine in the process may never make this task wait; others want the worker too.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Feeds the records of a chunk to the plugin, frame by frame.
    async fn take(&mut self, index: usize, chunk: &InputChunk) -> Result<(), Trouble> {
        let mut filter = AbortedFilter::new(&chunk.aborted);
        for batch in batches(&chunk.bytes) {
            let batch = batch.map_err(|error| self.corrupt(index, &error))?;
            let header = batch.header();
            if header.next_offset() <= self.inputs[index].read {
                continue;
            }
            batch
                .verify_crc()
                .map_err(|error| self.corrupt(index, &error))?;
            let verdict = filter.judge(&batch);
            if verdict.map_err(|error| self.corrupt(index, &error))? == Verdict::Records {
                let from = RunSource {
                    input: index as u16,
                    partition: self.inputs[index].partition,
                    leader_epoch: header.leader_epoch,
                    seed: self.inputs[index].seed,
                    log_append_time: header.timestamp_type() == TimestampType::LogAppendTime,
                };
                let records = batch
                    .records(DECOMPRESSED_BYTES_MAX)
                    .map_err(|error| self.corrupt(index, &error))?;
                for record in records.iter() {
                    let record = record.map_err(|error| self.corrupt(index, &error))?;
                    if record.offset < self.inputs[index].read {
                        continue;
                    }
                    if !self.frames.has_room(&record) {
                        self.process(index).await?;
                    }
                    if !self.frames.add(&from, &record) {
                        let at = (record.offset, record.offset);
                        return Err(self.failure(
                            self.place(index, Some(at)),
                            "the record is too large to be given to a plugin".into(),
                            String::new(),
                        ));
                    }
                }
            }
            self.inputs[index].read = header.next_offset();
        }
        self.process(index).await?;
        let input = &mut self.inputs[index];
        input.done = input.read;
        input.readable = input.read < chunk.last_stable;
        if input.readable && chunk.bytes.is_empty() {
            // The port promises whole batches below the stable end; never skip them, look again.
            self.stop.sleep(EMPTY_READ_PAUSE).await?;
        }
        if self.writer.is_due() {
            self.commit().await?;
        }
        Ok(())
    }

    /// Lets the plugin work on the frame that was collected, until it has consumed all of it.
    async fn process(&mut self, index: usize) -> Result<(), Trouble> {
        if self.frames.is_empty() {
            return Ok(());
        }
        self.writer.start_clock();
        let mut frame = self.frames.finish();
        loop {
            self.writer.check_topics().await?;
            let consumed = match self.processor.process(&frame).await {
                Ok(effects) => {
                    let input = &self.inputs[index];
                    let from = From {
                        topic: &input.topic,
                        partition: input.partition,
                        events: &self.frames.events,
                    };
                    let outbox = &mut self.writer.outbox;
                    let before = self.counts.records_in;
                    let routed = self.routes.apply(&effects, from, outbox, &mut self.counts);
                    self.counts.by_input[index] += self.counts.records_in - before;
                    let consumed = effects.consumed();
                    drop(effects);
                    self.status.spent(self.processor.last_call_cpu());
                    if let Err(error) = routed {
                        return Err(self.give_back(index, error).await);
                    }
                    consumed
                }
                Err(error) => return Err(self.plugin_trouble(index, &frame, error).await),
            };
            if consumed == 0 {
                let failure = PluginFailure::Malformed {
                    reason: "it consumed no event".into(),
                };
                return Err(self.plugin_trouble(index, &frame, failure.into()).await);
            }
            let last = self.frames.events[consumed as usize - 1].offset;
            self.inputs[index].done = last + 1;
            self.writer.send_ready(&mut self.stop).await?;
            if consumed == frame.event_count() {
                break;
            }
            frame = self.frames.rest(&frame, consumed, false);
            self.frames.events.drain(..consumed as usize);
            if self.writer.is_due() {
                self.commit().await?;
                self.writer.start_clock();
            }
        }
        self.frames.recycle(frame);
        if self.writer.is_due() {
            self.commit().await?;
        }
        Ok(())
    }

    /// Before the stage waits for a record, it commits what the records in front of it brought about.
    async fn give_back(&mut self, index: usize, error: RouteError) -> Trouble {
        if let RouteError::Unavailable { event, .. } = error
            && event > 0
        {
            self.inputs[index].done = self.frames.events[event as usize].offset;
            if let Err(trouble) = self.commit().await {
                return trouble;
            }
        }
        self.route_trouble(index, error)
    }

    async fn commit(&mut self) -> Result<(), Trouble> {
        let positions: Vec<_> = self.inputs.iter().map(Input::position).collect();
        self.writer.commit(&positions, &mut self.stop).await?;
        let now = Instant::now();
        let done: Vec<i64> = self.inputs.iter().map(|input| input.done).collect();
        let inputs = &mut self.inputs;
        let counts = self.counts.take();
        self.status.committed(&counts, &done, |histogram| {
            for input in inputs {
                input.commit(now, histogram);
            }
        });
        self.commits += 1;
        Ok(())
    }
}

/// Says what a stage will never see that begins at the earliest record, because it had been removed before.
fn report_gone<E: Engine, F: ProcessorFactory>(
    context: &StageContext<E, F>,
    inputs: &[Input<E::Input>],
    status: &TaskStatus,
) {
    for (index, input) in inputs.iter().enumerate() {
        let gone = u64::try_from(input.gone).unwrap_or(0);
        if !status.began_behind(index, gone) || gone == 0 {
            continue;
        }
        let (pipeline, stage) = (&context.pipeline, &context.stage.name);
        let (topic, partition, first) = (&input.topic, input.partition, input.read);
        tracing::warn!(
            "pipeline {pipeline}, stage {stage}, topic {topic}, partition {partition}: it begins at offset {first}, the \
             earliest that there is: up to {gone} records in front of it were removed, by retention or DeleteRecords, \
             and this stage never sees them"
        );
    }
}

/// The topics of the outbox, each once, and the way of each output into it.
async fn lay_out<E: Engine, F: ProcessorFactory>(
    context: &StageContext<E, F>,
) -> Result<(Vec<OutputTopic>, Routes), PortError> {
    let stage = &context.stage;
    let mut topics: Vec<OutputTopic> = Vec::new();
    let mut outputs = Vec::with_capacity(stage.outputs.len());
    for output in &stage.outputs {
        outputs.push(topic_index(&context.engine, &mut topics, &output.topic).await?);
    }
    let dead_letters = match &stage.dead_letters {
        Some(topic) => {
            let index = topic_index(&context.engine, &mut topics, topic).await?;
            Some((index, topics[index].info.partitions))
        }
        None => None,
    };
    let routes = Routes {
        pipeline: context.pipeline.clone(),
        stage: stage.name.clone(),
        outputs,
        on_reject: stage.on_reject,
        dead_letters,
    };
    Ok((topics, routes))
}

async fn topic_index<E: Engine>(
    engine: &E,
    topics: &mut Vec<OutputTopic>,
    name: &str,
) -> Result<usize, PortError> {
    if let Some(index) = topics.iter().position(|topic| topic.name == name) {
        return Ok(index);
    }
    topics.push(OutputTopic::find(engine, name).await?);
    Ok(topics.len() - 1)
}

impl OutputTopic {
    /// The facts of a topic that must exist.
    pub async fn find<E: Engine>(engine: &E, name: &str) -> Result<Self, PortError> {
        let info = engine
            .topic(name)
            .await?
            .ok_or_else(|| PortError::NotFound {
                topic: name.to_owned(),
            })?;
        Ok(OutputTopic {
            name: name.to_owned(),
            info,
        })
    }
}

impl<E: Engine, F: ProcessorFactory> StageContext<E, F> {
    async fn open_processor(&self, partition: i32) -> Result<F::Processor, Trouble> {
        let stage = &self.stage;
        let inputs = stage.inputs.iter().map(|input| InputBinding {
            name: input.name.clone(),
            topic: input.topic.clone(),
        });
        let context = OpenContext {
            pipeline: self.pipeline.clone(),
            stage: stage.name.clone(),
            partition,
            inputs: inputs.collect(),
            outputs: stage
                .outputs
                .iter()
                .map(|output| output.name.clone())
                .collect(),
            config: stage.config.clone(),
        };
        let limits = Limits {
            memory_bytes: usize::try_from(stage.limits.memory_bytes).unwrap_or(usize::MAX),
            call_cpu: stage.limits.call_cpu,
            output_bytes_max: OUTPUT_BYTES_MAX,
        };
        let opened = Arc::clone(&self.factory);
        let opened = opened.open(&context, limits).await;
        opened.map_err(|error| {
            let advice = "Correct the stage's config or the plugin and start again".to_owned();
            let reason = format!("the plugin cannot be started: {error}");
            self.failure(None, reason, advice).into()
        })
    }

    pub(super) fn failure(
        &self,
        place: Option<Place>,
        reason: String,
        advice: String,
    ) -> TaskFailure {
        TaskFailure {
            pipeline: self.pipeline.clone(),
            stage: self.stage.name.clone(),
            place,
            reason,
            advice,
        }
    }
}

/// How long a plugin may say that it is unavailable before its stage stops.
pub const UNAVAILABLE_PATIENCE: Duration = Duration::from_secs(30);
