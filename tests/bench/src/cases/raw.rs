//! A client of a few lines, so that start-up times are the system's and not a client library's.
//! Metadata version 1, Produce version 3, Fetch version 4 and IncrementalAlterConfigs version 0, which every broker of
//! today answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const METADATA: i16 = 3;
const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
/// A topic as a resource with settings.
const TOPIC: u8 = 2;
const ANSWER_BYTES_MAX: usize = 16 * 1_024 * 1_024;
const READ_COMMITTED: u8 = 1;

#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
}

impl RawClient {
    pub fn connect(address: SocketAddr) -> Result<RawClient> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(RawClient { stream })
    }

    /// Asks for the cluster's brokers and gives back how many there are.
    pub fn brokers(&mut self) -> Result<i32> {
        let no_topics = 0i32.to_be_bytes();
        let answer = self.call(METADATA, 1, &no_topics)?;
        let count = answer.get(..4).context("a short Metadata answer")?;
        Ok(i32::from_be_bytes(count.try_into()?))
    }

    /// The committed records from `offset` on, as bytes; waits up to `wait` for the first.
    pub fn fetch(&mut self, topic: &str, offset: i64, wait: Duration) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        body.extend((-1i32).to_be_bytes()); // not a replica
        body.extend(i32::try_from(wait.as_millis())?.to_be_bytes());
        body.extend(1i32.to_be_bytes()); // min_bytes
        body.extend(1_048_576i32.to_be_bytes());
        body.push(READ_COMMITTED);
        body.extend(1i32.to_be_bytes());
        body.extend(i16::try_from(topic.len())?.to_be_bytes());
        body.extend(topic.as_bytes());
        body.extend(1i32.to_be_bytes());
        body.extend(0i32.to_be_bytes()); // partition
        body.extend(offset.to_be_bytes());
        body.extend(1_048_576i32.to_be_bytes());
        let answer = self.call(FETCH, 4, &body)?;
        records(&answer, topic).context("an odd Fetch answer")
    }

    /// Appends a record set to each partition, acknowledged by all replicas, and gives back the error
    /// code of each partition.
    pub fn produce(&mut self, topic: &str, sets: &[(i32, &[u8])]) -> Result<Vec<(i32, i16)>> {
        let mut body = Vec::new();
        body.extend((-1i16).to_be_bytes()); // no transactional id
        body.extend((-1i16).to_be_bytes()); // acks=all
        body.extend(30_000i32.to_be_bytes());
        body.extend(1i32.to_be_bytes());
        body.extend(i16::try_from(topic.len())?.to_be_bytes());
        body.extend(topic.as_bytes());
        body.extend(i32::try_from(sets.len())?.to_be_bytes());
        for (partition, set) in sets {
            body.extend(partition.to_be_bytes());
            body.extend(i32::try_from(set.len())?.to_be_bytes());
            body.extend(*set);
        }
        let answer = self.call(PRODUCE, 3, &body)?;
        // topic count i32, name, partition count i32; each: index i32, error i16, offset i64, time i64
        let partitions = answer
            .get(4 + 2 + topic.len() + 4..)
            .context("a short Produce answer")?;
        Ok(partitions
            .chunks_exact(22)
            .map(|one| {
                let index = i32::from_be_bytes([one[0], one[1], one[2], one[3]]);
                (index, i16::from_be_bytes([one[4], one[5]]))
            })
            .collect())
    }

    /// Asks for records of these partitions from these offsets on, and gives back the partitions that
    /// came with some.
    pub fn fetch_many(&mut self, topic: &str, from: &[(i32, i64)]) -> Result<Vec<i32>> {
        let mut body = Vec::new();
        body.extend((-1i32).to_be_bytes()); // not a replica
        body.extend(0i32.to_be_bytes()); // no wait
        body.extend(1i32.to_be_bytes()); // min_bytes
        body.extend(8_388_608i32.to_be_bytes());
        body.push(READ_COMMITTED);
        body.extend(1i32.to_be_bytes());
        body.extend(i16::try_from(topic.len())?.to_be_bytes());
        body.extend(topic.as_bytes());
        body.extend(i32::try_from(from.len())?.to_be_bytes());
        for (partition, offset) in from {
            body.extend(partition.to_be_bytes());
            body.extend(offset.to_be_bytes());
            body.extend(4_096i32.to_be_bytes());
        }
        let answer = self.call(FETCH, 4, &body)?;
        served(&answer, topic).context("an odd Fetch answer")
    }

    /// Changes settings of a topic.
    pub fn alter_topic(&mut self, topic: &str, settings: &[(&str, &str)]) -> Result<()> {
        let string = |body: &mut Vec<u8>, text: &str| -> Result<()> {
            body.extend(i16::try_from(text.len())?.to_be_bytes());
            body.extend(text.as_bytes());
            Ok(())
        };
        let mut body = Vec::new();
        body.extend(1i32.to_be_bytes());
        body.push(TOPIC);
        string(&mut body, topic)?;
        body.extend(i32::try_from(settings.len())?.to_be_bytes());
        for (name, value) in settings {
            string(&mut body, name)?;
            body.push(0); // set
            string(&mut body, value)?;
        }
        body.push(0); // not only to be checked
        let answer = self.call(INCREMENTAL_ALTER_CONFIGS, 0, &body)?;
        // throttle i32, resource count i32; each: error i16
        let code = answer.get(8..10).context("a short answer")?;
        let code = i16::from_be_bytes([code[0], code[1]]);
        ensure!(code == 0, "{topic} refuses {settings:?} with {code}");
        Ok(())
    }

    fn call(&mut self, api: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
        let mut frame = Vec::new();
        frame.extend(i32::try_from(10 + body.len())?.to_be_bytes());
        frame.extend(api.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(1i32.to_be_bytes()); // correlation id
        frame.extend((-1i16).to_be_bytes()); // no client id
        frame.extend(body);
        self.stream.write_all(&frame)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        ensure!(
            (4..=ANSWER_BYTES_MAX).contains(&length),
            "an answer of {length} bytes"
        );
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(answer.split_off(4))
    }
}

/// The partitions that came with records.
fn served(answer: &[u8], topic: &str) -> Option<Vec<i32>> {
    // throttle i32, topic count i32, name, partition count i32
    let mut rest = answer.get(4 + 4 + 2 + topic.len()..)?;
    let mut served = Vec::new();
    for _ in 0..i32_of(&mut rest)? {
        let index = i32_of(&mut rest)?;
        // error i16, high watermark i64, last stable offset i64, aborted transactions, records
        rest = rest.get(18..)?;
        let aborted = usize::try_from(i32_of(&mut rest)?.max(0)).ok()?;
        rest = rest.get(aborted.checked_mul(16)?..)?;
        let length = usize::try_from(i32_of(&mut rest)?.max(0)).ok()?;
        rest = rest.get(length..)?;
        if length > 0 {
            served.push(index);
        }
    }
    Some(served)
}

fn i32_of(rest: &mut &[u8]) -> Option<i32> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(i32::from_be_bytes(*number))
}

/// The record set of the only partition, or `None` when the answer has another form.
fn records(answer: &[u8], topic: &str) -> Option<Vec<u8>> {
    // throttle i32, topic count i32, name, partition count i32, index i32
    let partition = answer.get(4 + 4 + 2 + topic.len() + 4 + 4..)?;
    if partition.get(..2)? != 0i16.to_be_bytes() {
        return None;
    }
    // error i16, high watermark i64, last stable offset i64, aborted transactions
    let aborted = i32::from_be_bytes(partition.get(18..22)?.try_into().ok()?).max(0);
    let at = 22 + usize::try_from(aborted).ok()?.checked_mul(16)?;
    let length = i32::from_be_bytes(partition.get(at..at + 4)?.try_into().ok()?).max(0);
    Some(
        partition
            .get(at + 4..at + 4 + usize::try_from(length).ok()?)?
            .to_vec(),
    )
}
