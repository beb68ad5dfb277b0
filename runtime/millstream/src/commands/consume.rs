//! `millstream consume TOPIC`: prints records, as lines of text or of JSON.

use std::io::{BufWriter, Stdout, Write};

use clap::{Args, ValueEnum};
use millstream_records::{BatchError, Record, batches};
use tokio::sync::watch;

use crate::client::{
    Chunk, Client, ClientError, CommittedFilter, EARLIEST, Fetcher, Isolation, LATEST, Offsets,
    Topic,
};
use crate::commands::at_node::{NodeAddress, on_node};
use crate::commands::record_json::PrintedRecord;
use crate::outcome::Outcome;
use crate::output::OutputFormat;
use crate::screen::AboveBars;

/// How long a fetch waits for new records.
const WAIT_MS: i32 = 500;
/// A batch that unpacks to more than this is refused.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The topic
    topic: String,
    /// Which records are shown
    #[arg(long, value_enum, default_value_t)]
    isolation: IsolationLevel,
    /// Where to begin: beginning, end, or an offset
    #[arg(long, value_name = "PLACE", default_value = "beginning")]
    from: From,
    /// A partition to read; may be repeated [default: all]
    #[arg(long = "partition", value_name = "N")]
    partitions: Vec<i32>,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    max_records: Option<u64>,
    /// Wait for new records at the end instead of stopping there
    #[arg(long, short)]
    follow: bool,
    /// In text, print the key and this text in front of the value
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    #[command(flatten)]
    address: NodeAddress,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum IsolationLevel {
    /// Only what is committed
    #[default]
    #[value(name = "read_committed")]
    ReadCommitted,
    /// What open and aborted transactions wrote, too
    #[value(name = "read_uncommitted")]
    ReadUncommitted,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Beginning,
    End,
    Offset(i64),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        match text {
            "beginning" => Ok(From::Beginning),
            "end" => Ok(From::End),
            other => match other.parse() {
                Ok(offset @ 0..) => Ok(From::Offset(offset)),
                _ => Err("a place is `beginning`, `end` or an offset".to_owned()),
            },
        }
    }
}

/// Prints until the end, the wanted number of records, or Ctrl-C.
pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    on_node(&arguments.address, async |client| {
        consume(client, arguments, output).await
    })
}

async fn consume(
    mut client: Client,
    arguments: &Arguments,
    output: OutputFormat,
) -> Result<(), ClientError> {
    let isolation = match arguments.isolation {
        IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        IsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
    };
    let topic = client.topic(&arguments.topic, false).await?;
    let partitions = chosen_partitions(&topic, &arguments.partitions)?;
    let starts = client
        .offsets(&topic, &partitions, EARLIEST, isolation)
        .await?;
    let ends = client
        .offsets(&topic, &partitions, LATEST, isolation)
        .await?;
    let positions = match arguments.from {
        From::Beginning => starts,
        From::End => ends.clone(),
        From::Offset(offset) => positions_at(&topic.name, offset, &starts, &ends)?,
    };
    let mut reader = Reader {
        printer: Printer::to_stdout(&topic, output, arguments.key_separator.clone()),
        isolation,
        ends: (!arguments.follow).then_some(ends),
        remaining: arguments.max_records.unwrap_or(u64::MAX),
    };
    let mut fetcher = Fetcher::new(topic, isolation, positions);
    reader.drop_finished(&mut fetcher);
    while reader.remaining > 0 && !fetcher.positions().is_empty() {
        reader.poll(&mut fetcher, &mut client).await?;
    }
    Ok(())
}

/// Prints what is committed behind `positions` (partitions that are not named: from the beginning) until `stop`
/// turns true, and then up to the end as it is at that moment.
pub async fn print_until(
    mut client: Client,
    topic: &str,
    positions: Offsets,
    output: OutputFormat,
    stop: watch::Receiver<bool>,
) -> Result<(), ClientError> {
    let isolation = Isolation::ReadCommitted;
    let topic = client.topic(topic, false).await?;
    let partitions = chosen_partitions(&topic, &[])?;
    let mut starts = client
        .offsets(&topic, &partitions, EARLIEST, isolation)
        .await?;
    starts.extend(positions);
    let mut reader = Reader {
        printer: Printer::to_stdout(&topic, output, None),
        isolation,
        ends: None,
        remaining: u64::MAX,
    };
    let mut fetcher = Fetcher::new(topic.clone(), isolation, starts);
    while !fetcher.positions().is_empty() {
        if reader.ends.is_none() && *stop.borrow() {
            let ends = client.offsets(&topic, &partitions, LATEST, isolation);
            reader.ends = Some(ends.await?);
            reader.drop_finished(&mut fetcher);
            continue;
        }
        reader.poll(&mut fetcher, &mut client).await?;
    }
    Ok(())
}

fn chosen_partitions(topic: &Topic, wanted: &[i32]) -> Result<Vec<i32>, ClientError> {
    let all: Vec<i32> = topic
        .partitions
        .iter()
        .map(|partition| partition.index)
        .collect();
    if wanted.is_empty() {
        return Ok(all);
    }
    match wanted.iter().find(|partition| !all.contains(partition)) {
        Some(missing) => Err(ClientError::NotFound(format!(
            "topic {:?} has no partition {missing}: it has {}, from 0 on",
            topic.name,
            all.len()
        ))),
        None => Ok(wanted.to_vec()),
    }
}

/// The same offset in every partition, or the end that is nearest to it; it must exist in one.
fn positions_at(
    topic: &str,
    offset: i64,
    starts: &Offsets,
    ends: &Offsets,
) -> Result<Offsets, ClientError> {
    let range = |partition: &i32| starts[partition]..=ends[partition];
    if starts
        .keys()
        .any(|partition| range(partition).contains(&offset))
    {
        let nearest = |partition: &i32| offset.max(starts[partition]).min(ends[partition]);
        return Ok(starts.keys().map(|p| (*p, nearest(p))).collect());
    }
    let ranges: Vec<String> = starts
        .iter()
        .map(|(partition, start)| format!("{topic}-{partition} has {start} to {}", ends[partition]))
        .collect();
    Err(ClientError::NotFound(format!(
        "offset {offset} is in no partition that is read: {}",
        ranges.join(", ")
    )))
}

/// Turns fetched bytes into printed records.
struct Reader<W: Write = AboveBars<Stdout>> {
    printer: Printer<W>,
    isolation: Isolation,
    /// Where to stop; none when following.
    ends: Option<Offsets>,
    remaining: u64,
}

impl<W: Write> Reader<W> {
    /// Prints what one fetch brings, and ends the partitions that are done with it.
    async fn poll(
        &mut self,
        fetcher: &mut Fetcher,
        client: &mut Client,
    ) -> Result<(), ClientError> {
        for chunk in fetcher.poll(client, WAIT_MS).await? {
            let position = fetcher.positions()[&chunk.partition];
            let next = self.read(&chunk, position)?;
            fetcher.advance(chunk.partition, next);
        }
        self.printer.out.flush()?;
        self.drop_finished(fetcher);
        Ok(())
    }

    /// Prints a chunk's records from `position` on; returns the position behind them.
    fn read(&mut self, chunk: &Chunk, mut position: i64) -> Result<i64, ClientError> {
        let partition = chunk.partition;
        let place = format!("{}-{partition}", self.printer.topic);
        let damaged = |position: i64, error: BatchError| {
            ClientError::Input(format!(
                "{place} has a damaged batch at or behind offset {position}: {error}"
            ))
        };
        let end = self.ends.as_ref().map(|ends| ends[&partition]);
        let mut filter = CommittedFilter::new(match self.isolation {
            Isolation::ReadCommitted => chunk.aborted.clone(),
            Isolation::ReadUncommitted => Vec::new(),
        });
        for batch in batches(&chunk.records) {
            let batch = batch.map_err(|error| damaged(position, error))?;
            batch
                .verify_crc()
                .map_err(|error| damaged(position, error))?;
            let header = batch.header();
            if end.is_some_and(|end| header.base_offset >= end) {
                break;
            }
            let next = header.next_offset();
            if filter
                .admits(&batch)
                .map_err(|error| damaged(position, error))?
            {
                let records = batch
                    .records(DECOMPRESSED_BYTES_MAX)
                    .map_err(|error| damaged(position, error))?;
                for record in records.iter() {
                    let record = record.map_err(|error| damaged(position, error))?;
                    if record.offset < position {
                        continue;
                    }
                    if self.remaining == 0 {
                        return Ok(record.offset);
                    }
                    self.remaining -= 1;
                    self.printer.print(partition, &record)?;
                }
            }
            position = position.max(next);
        }
        Ok(position)
    }

    /// Ends the partitions that have been read to their end.
    fn drop_finished(&self, fetcher: &mut Fetcher) {
        let Some(ends) = &self.ends else { return };
        for (partition, position) in fetcher.positions().clone() {
            // An offset beyond the end is not finished: the node will say what is wrong with it.
            if position == ends[&partition] {
                fetcher.drop_partition(partition);
            }
        }
    }
}

/// Prints one record as a line.
struct Printer<W: Write> {
    out: BufWriter<W>,
    topic: String,
    json: bool,
    key_separator: Option<String>,
}

impl Printer<AboveBars<Stdout>> {
    fn to_stdout(topic: &Topic, output: OutputFormat, key_separator: Option<String>) -> Self {
        Printer {
            out: BufWriter::new(AboveBars::new(std::io::stdout())),
            topic: topic.name.clone(),
            json: output.is_json(),
            key_separator,
        }
    }
}

impl<W: Write> Printer<W> {
    fn print(&mut self, partition: i32, record: &Record<'_>) -> Result<(), ClientError> {
        let out = &mut self.out;
        if self.json {
            let printed = PrintedRecord::new(&self.topic, partition, record);
            serde_json::to_writer(&mut *out, &printed).map_err(std::io::Error::from)?;
        } else {
            if let Some(separator) = &self.key_separator {
                out.write_all(record.key.unwrap_or_default())?;
                out.write_all(separator.as_bytes())?;
            }
            out.write_all(record.value.unwrap_or_default())?;
        }
        out.write_all(b"\n")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millstream_records::{BatchBuilder, BatchOptions};

    use super::*;

    fn batch(base_offset: i64, values: &[&str]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset,
            ..BatchOptions::default()
        });
        for value in values {
            builder
                .append(5, Some(b"k"), Some(value.as_bytes()), std::iter::empty())
                .expect("fits");
        }
        builder.build().expect("builds")
    }

    fn reader(end: Option<i64>, remaining: u64) -> Reader<Vec<u8>> {
        Reader {
            printer: Printer {
                out: BufWriter::new(Vec::new()),
                topic: "t".to_owned(),
                json: false,
                key_separator: Some("=".to_owned()),
            },
            isolation: Isolation::ReadCommitted,
            ends: end.map(|end| Offsets::from([(0, end)])),
            remaining,
        }
    }

    fn chunk(bytes: Vec<u8>) -> Chunk {
        Chunk {
            partition: 0,
            records: bytes.into(),
            aborted: Vec::new(),
        }
    }

    fn printed(reader: Reader<Vec<u8>>) -> String {
        let bytes = reader.printer.out.into_inner().expect("flushes");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn records_before_the_position_and_behind_the_end_are_left_out() {
        let mut bytes = [batch(10, &["a", "b", "c"]), batch(13, &["d"])].concat();
        bytes.extend(&batch(14, &["cut off"])[..30]);
        let mut first = reader(None, u64::MAX);
        assert_eq!(first.read(&chunk(bytes.clone()), 11).expect("reads"), 14);
        assert_eq!(printed(first), "k=b\nk=c\nk=d\n");
        let mut ending = reader(Some(13), u64::MAX);
        assert_eq!(ending.read(&chunk(bytes), 10).expect("reads"), 13);
        assert_eq!(printed(ending), "k=a\nk=b\nk=c\n");
    }

    #[test]
    fn reading_stops_after_the_wanted_number_of_records() {
        let mut limited = reader(None, 2);
        let next = limited.read(&chunk(batch(0, &["a", "b", "c"])), 0);
        assert_eq!(next.expect("reads"), 2);
        assert_eq!(limited.remaining, 0);
        assert_eq!(printed(limited), "k=a\nk=b\n");
    }

    #[test]
    fn a_damaged_batch_is_reported_and_not_printed() {
        let mut bytes = batch(0, &["a", "b"]);
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        let mut careful = reader(None, u64::MAX);
        let error = careful.read(&chunk(bytes), 0).expect_err("is damaged");
        assert!(error.to_string().contains("t-0"), "{error}");
        assert_eq!(printed(careful), "");
    }

    #[test]
    fn an_offset_must_exist_in_one_partition_and_is_moved_into_the_others() {
        let starts = Offsets::from([(0, 0), (1, 5)]);
        let ends = Offsets::from([(0, 3), (1, 9)]);
        let at = |offset| positions_at("t", offset, &starts, &ends);
        assert_eq!(at(2).expect("exists"), Offsets::from([(0, 2), (1, 5)]));
        assert_eq!(at(7).expect("exists"), Offsets::from([(0, 3), (1, 7)]));
        let error = at(10).expect_err("is beyond").to_string();
        assert!(error.contains("t-0 has 0 to 3, t-1 has 5 to 9"), "{error}");
    }

    #[test]
    fn a_place_is_a_word_or_an_offset() {
        assert_eq!("beginning".parse(), Ok(From::Beginning));
        assert_eq!("end".parse(), Ok(From::End));
        assert_eq!("12".parse(), Ok(From::Offset(12)));
        assert!("-1".parse::<From>().is_err());
        assert!("middle".parse::<From>().is_err());
    }
}
