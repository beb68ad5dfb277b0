//! librdkafka as the client of both systems.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::system::{INPUT, OUTPUT};

/// How long a topic may take to appear after its system has started.
const TOPIC_WAIT_MAX: Duration = Duration::from_secs(10);

/// What a producer is tuned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuning {
    Throughput,
    Latency,
}

pub fn producer(address: &str, tuning: Tuning) -> Result<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("acks", "all");
    match tuning {
        Tuning::Throughput => config
            .set("linger.ms", "5")
            .set("batch.size", "262144")
            .set("queue.buffering.max.messages", "1000000"),
        Tuning::Latency => config
            .set("linger.ms", "0")
            .set("socket.nagle.disable", "true"),
    };
    Ok(config.create()?)
}

/// A `read_committed` reader of the only partition of `topic`, from the log's end on.
pub fn reader(address: &str, topic: &str) -> Result<BaseConsumer> {
    let end = end_offset(address, topic)?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", "bench-reader")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "500")
        .set("fetch.queue.backoff.ms", "1")
        .set("queued.max.messages.kbytes", "65536")
        .set("socket.nagle.disable", "true")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Offset(end))?;
    consumer.assign(&partitions)?;
    Ok(consumer)
}

/// The end of the only partition of `topic` as it is now; waits for the topic.
pub fn end_offset(address: &str, topic: &str) -> Result<i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .create()?;
    let begun = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, 0, Duration::from_secs(30)) {
            Ok((_, end)) => return Ok(end),
            Err(error) if begun.elapsed() > TOPIC_WAIT_MAX => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Sends a value without a key, waiting while the producer's queue is full.
pub fn send(producer: &BaseProducer, topic: &str, value: &[u8]) -> Result<()> {
    use rdkafka::error::KafkaError::MessageProduction;
    use rdkafka::types::RDKafkaErrorCode::QueueFull;
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(0).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((MessageProduction(QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

pub fn flush(producer: &BaseProducer) -> Result<()> {
    Ok(producer.flush(Duration::from_secs(120))?)
}

/// Reads until `count` records have come.
pub fn read(reader: &BaseConsumer, count: u64, limit: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut seen = 0;
    while seen < count {
        if begun.elapsed() > limit {
            bail!("only {seen} of {count} records came within {limit:?}");
        }
        if let Some(message) = reader.poll(Duration::from_millis(100)) {
            message?.payload().context("a record without a value")?;
            seen += 1;
        }
    }
    Ok(())
}

pub fn create_topics(address: &str, names: &[&str]) -> Result<()> {
    create_topics_of(address, names, 1)
}

/// Topics of so many partitions each.
pub fn create_topics_of(address: &str, names: &[&str], partitions: i32) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .create()?;
    let topics: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1)))
        .collect();
    let results = wait_for(admin.create_topics(&topics, &AdminOptions::new()))?;
    for result in results {
        result.map_err(|(topic, code)| anyhow::anyhow!("cannot create {topic}: {code}"))?;
    }
    Ok(())
}

/// The admin calls are answered by librdkafka's own thread; a parked thread is all that is needed.
fn wait_for<T, E: Into<anyhow::Error>>(future: impl Future<Output = Result<T, E>>) -> Result<T> {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(result) => return result.map_err(Into::into),
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// Sends records until one has come out at the other end, so that start-up is over.
pub fn wait_for_pipeline(address: &str, limit: Duration) -> Result<()> {
    let producer = producer(address, Tuning::Latency)?;
    let reader = reader(address, OUTPUT)?;
    let begun = Instant::now();
    let mut sent = 0u64;
    while begun.elapsed() < limit {
        send(&producer, INPUT, format!("{sent:016}warm-up").as_bytes())?;
        flush(&producer)?;
        sent += 1;
        if let Some(message) = reader.poll(Duration::from_millis(500)) {
            message?;
            return drain(&reader);
        }
    }
    bail!("the pipeline gave nothing within {limit:?}")
}

/// Reads until nothing has come for two seconds.
fn drain(reader: &BaseConsumer) -> Result<()> {
    while let Some(message) = reader.poll(Duration::from_secs(2)) {
        message?;
    }
    Ok(())
}

/// Named figures that a client program printed as one JSON object.
pub fn parse_figures(text: &str) -> Result<HashMap<String, f64>> {
    serde_json::from_str(text.trim()).with_context(|| format!("the client printed: {text}"))
}
