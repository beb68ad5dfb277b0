//! `millstream log dump`.

use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use millstream_log::checkpoint::{
    MetaProperties, PartitionMetadata, id_to_text, read_leader_epochs, read_offsets,
};
use millstream_log::fs::{FileSystem, RealFs};
use millstream_log::inspect::{self, Damage, FileKind, SegmentPiece, SegmentReader};
use millstream_records::{BatchHeader, BatchView, ControlKind, ControlRecord, Marker, Record};
use serde_json::{Value, json};

use super::decode::{Decoder, plain};
use super::line::Line;
use crate::outcome::{Failure, FailureKind, Outcome, said};
use crate::output::OutputFormat;

/// A batch is decompressed to at most this much.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Segments, indexes, snapshots or checkpoints; of a directory, all of its files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print the records of each batch too
    #[arg(long)]
    deep: bool,
    /// Only batches with these offsets, as in `10..20` or `10..`
    #[arg(long, value_name = "FROM..TO", value_parser = offsets)]
    offsets: Option<Range<i64>>,
    /// How keys and values of records are read
    #[arg(long, value_enum, default_value_t)]
    decoder: Decoder,
}

fn offsets(text: &str) -> Result<Range<i64>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or_else(|| format!("`{text}` is not of the form FROM..TO"))?;
    let number = |text: &str, default| match text {
        "" => Ok(default),
        _ => text
            .parse()
            .map_err(|_| format!("`{text}` is not an offset")),
    };
    Ok(number(from, 0)?..number(to, i64::MAX)?)
}

/// Prints what the files hold. Damage is printed where it is met, and the dump goes on behind it.
pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let mut dump = Dump {
        fs: RealFs,
        arguments,
        output,
        out: BufWriter::new(io::stdout().lock()),
    };
    for path in &arguments.paths {
        if !path.exists() {
            let error = anyhow::anyhow!("there is no {}", path.display());
            return Err(Failure::new(FailureKind::NotFound, error));
        }
        if let Err(error) = dump.path(path) {
            // A reader that went away, such as `head`, has had enough.
            let is_over = error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
            return if is_over { Ok(()) } else { Err(error.into()) };
        }
    }
    match dump.out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

struct Dump<'a, W> {
    fs: RealFs,
    arguments: &'a Arguments,
    output: OutputFormat,
    out: W,
}

impl<W: Write> Dump<'_, W> {
    fn path(&mut self, path: &Path) -> anyhow::Result<()> {
        if !path.is_dir() {
            let Some((kind, base_offset)) = FileKind::of(path) else {
                bail!(
                    "{} is not named as a segment, an index, a snapshot or a checkpoint is",
                    path.display()
                );
            };
            return self.file(path, kind, base_offset.unwrap_or(0));
        }
        for entry in self.fs.read_dir(path)? {
            let path = path.join(&entry.name);
            if let Some((kind, base_offset)) = FileKind::of(&path).filter(|_| !entry.is_dir) {
                self.file(&path, kind, base_offset.unwrap_or(0))?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: Line) -> anyhow::Result<()> {
        Ok(line.write(&mut self.out, self.output)?)
    }

    fn damage(&mut self, damage: Option<Damage>) -> anyhow::Result<()> {
        let Some(damage) = damage else {
            return Ok(());
        };
        let end = |end: i64| (end != i64::MAX).then_some(end);
        let line = Line::new("damage")
            .with("position", damage.position)
            .with_some(
                "from_offset",
                damage.offsets.as_ref().map(|offsets| offsets.start),
            )
            .with_some(
                "to_offset",
                damage.offsets.as_ref().and_then(|offsets| end(offsets.end)),
            )
            .with("reason", damage.reason);
        self.line(line)
    }

    fn file(&mut self, path: &Path, kind: FileKind, base_offset: i64) -> anyhow::Result<()> {
        self.line(Line::new("file").with("path", path.display().to_string()))?;
        let read = || format!("reading {}", path.display());
        match kind {
            FileKind::Segment => self.segment(path).with_context(read),
            FileKind::OffsetIndex => {
                let (entries, damage) =
                    inspect::read_offset_index(&self.fs, path, base_offset).with_context(read)?;
                for entry in entries {
                    self.line(
                        Line::new("offset_entry")
                            .with("offset", entry.offset)
                            .with("position", entry.position),
                    )?;
                }
                self.damage(damage)
            }
            FileKind::TimeIndex => {
                let (entries, damage) =
                    inspect::read_time_index(&self.fs, path, base_offset).with_context(read)?;
                for entry in entries {
                    self.line(
                        Line::new("time_entry")
                            .with("timestamp", entry.timestamp)
                            .with("offset", entry.offset),
                    )?;
                }
                self.damage(damage)
            }
            FileKind::AbortedIndex => {
                let (entries, damage) =
                    inspect::read_aborted_index(&self.fs, path).with_context(read)?;
                for entry in entries {
                    self.line(
                        Line::new("aborted_transaction")
                            .with("producer_id", entry.producer_id)
                            .with("first_offset", entry.first_offset)
                            .with("last_offset", entry.last_offset)
                            .with("last_stable_offset", entry.last_stable_offset),
                    )?;
                }
                self.damage(damage)
            }
            FileKind::ProducerSnapshot => self.snapshot(path),
            FileKind::Checksums | FileKind::AcceptedLosses => self.text(path),
            _ => self
                .checkpoint(path, kind)
                .or_else(|error| self.line(Line::new("damage").with("reason", said(&error)))),
        }
    }

    fn segment(&mut self, path: &Path) -> anyhow::Result<()> {
        let mut reader = SegmentReader::open(&self.fs, path)?;
        let decoder = self.arguments.decoder.for_segment(path);
        let wanted = self.arguments.offsets.clone().unwrap_or(0..i64::MAX);
        while let Some(piece) = reader.next_piece()? {
            match piece {
                SegmentPiece::Damage { damage, .. } => self.damage(Some(damage))?,
                SegmentPiece::Batch { position, header } => {
                    if header.last_offset() < wanted.start {
                        continue;
                    }
                    if header.base_offset >= wanted.end {
                        return Ok(());
                    }
                    self.line(batch_line(position, &header))?;
                    if self.arguments.deep {
                        let bytes = reader.batch_bytes(position, &header)?;
                        let view = BatchView::parse(bytes)?;
                        self.records(&view, position, decoder, &wanted)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn records(
        &mut self,
        batch: &BatchView<'_>,
        position: u64,
        decoder: Decoder,
        wanted: &Range<i64>,
    ) -> anyhow::Result<()> {
        let undecoded = |error: &dyn std::fmt::Display| {
            Line::new("damage")
                .with("position", position)
                .with("reason", error.to_string())
        };
        let records = match batch.records(DECOMPRESSED_BYTES_MAX) {
            Ok(records) => records,
            Err(error) => return self.line(undecoded(&error)),
        };
        for record in records.iter() {
            match record {
                Ok(record) if !wanted.contains(&record.offset) => {}
                Ok(record) => {
                    let line = record_line(&record, batch.header().is_control(), decoder);
                    self.line(line)?;
                }
                Err(error) => self.line(undecoded(&error))?,
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, path: &Path) -> anyhow::Result<()> {
        let entries = match inspect::read_producer_snapshot(&self.fs, path)? {
            Ok(entries) => entries,
            Err(damage) => return self.damage(Some(damage)),
        };
        for entry in entries {
            let last = entry.last_batch();
            self.line(
                Line::new("producer")
                    .with("producer_id", entry.producer_id)
                    .with("epoch", entry.epoch)
                    .with("last_sequence", entry.last_sequence())
                    .with_some("last_offset", last.map(|batch| batch.last_offset))
                    .with_some("offset_delta", last.map(|batch| batch.offset_delta))
                    .with("last_timestamp", entry.last_timestamp)
                    .with("coordinator_epoch", entry.coordinator_epoch)
                    .with_some("transaction_first_offset", entry.transaction_first_offset),
            )?;
        }
        Ok(())
    }

    fn text(&mut self, path: &Path) -> anyhow::Result<()> {
        let text = std::fs::read(path)?;
        for line in String::from_utf8_lossy(&text).lines() {
            self.line(Line::new("text").with("line", line))?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, path: &Path, kind: FileKind) -> anyhow::Result<()> {
        match kind {
            FileKind::LeaderEpochs => {
                for entry in read_leader_epochs(&self.fs, path)?.unwrap_or_default() {
                    self.line(
                        Line::new("leader_epoch")
                            .with("epoch", entry.epoch)
                            .with("start_offset", entry.start_offset),
                    )?;
                }
            }
            FileKind::Offsets => {
                for ((topic, partition), offset) in
                    read_offsets(&self.fs, path)?.unwrap_or_default()
                {
                    self.line(
                        Line::new("offset")
                            .with("topic", topic)
                            .with("partition", partition)
                            .with("offset", offset),
                    )?;
                }
            }
            FileKind::PartitionMetadata => {
                if let Some(metadata) = PartitionMetadata::read(&self.fs, path)? {
                    self.line(
                        Line::new("partition_metadata")
                            .with("topic_id", id_to_text(metadata.topic_id)),
                    )?;
                }
            }
            FileKind::MetaProperties => {
                if let Some(meta) = MetaProperties::read(&self.fs, path)? {
                    self.line(
                        Line::new("meta_properties")
                            .with("cluster_id", meta.cluster_id)
                            .with("node_id", meta.node_id)
                            .with("directory_id", id_to_text(meta.directory_id)),
                    )?;
                }
            }
            _ => self.node_checkpoint(path)?,
        }
        Ok(())
    }

    fn node_checkpoint(&mut self, path: &Path) -> anyhow::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        let Some(node) = inspect::read_node_checkpoint(&self.fs, dir)? else {
            return Ok(());
        };
        self.line(
            Line::new("node_checkpoint")
                .with("flush", node.flush.as_str())
                .with("next_incarnation", node.next_incarnation)
                .with("next_lsn", node.next_lsn),
        )?;
        for log in node.logs {
            let epochs: Vec<_> = log
                .epochs
                .iter()
                .map(|entry| json!([entry.epoch, entry.start_offset]))
                .collect();
            self.line(
                Line::new("log_checkpoint")
                    .with_some("topic", log.topic)
                    .with("topic_id", id_to_text(log.topic_id))
                    .with("partition", log.partition)
                    .with("incarnation", log.incarnation)
                    .with("recovery_point", log.recovery_point)
                    .with("log_start", log.log_start)
                    .with("lsn", log.lsn)
                    .with("segment_base", log.segment_base)
                    .with("segment_size", log.segment_size)
                    .with("leader_epochs", epochs)
                    .with("producers", log.producers),
            )?;
        }
        Ok(())
    }
}

fn batch_line(position: u64, header: &BatchHeader) -> Line {
    Line::new("batch")
        .with("position", position)
        .with("size", header.size_in_bytes())
        .with("base_offset", header.base_offset)
        .with("last_offset", header.last_offset())
        .with("records", header.record_count)
        .with("leader_epoch", header.leader_epoch)
        .with("compression", header.compression().to_string())
        .with("timestamp_type", header.timestamp_type().to_string())
        .with("base_timestamp", header.base_timestamp)
        .with("max_timestamp", header.max_timestamp)
        .with("producer_id", header.producer_id)
        .with("producer_epoch", header.producer_epoch)
        .with("base_sequence", header.base_sequence)
        .with("last_sequence", header.last_sequence())
        .with("transactional", header.is_transactional())
        .with("control", header.is_control())
        .with_some("delete_horizon_ms", header.delete_horizon_ms())
        .with("crc", format!("{:08x}", header.crc))
}

fn record_line(record: &Record<'_>, is_control: bool, decoder: Decoder) -> Line {
    let line = Line::new("record")
        .with("offset", record.offset)
        .with("timestamp", record.timestamp);
    if is_control {
        return match ControlRecord::parse(record) {
            Ok(control) => line.with("marker", marker(control.kind)).with_some(
                "coordinator_epoch",
                control.marker().map(|_| control.coordinator_epoch),
            ),
            Err(error) => line.with("error", error.to_string()),
        };
    }
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(name, value)| json!([plain(Some(name)), plain(value)]))
        .collect();
    line.with("key", decoder.key(record.key))
        .with("value", decoder.value(record.key, record.value))
        .with("headers", headers)
}

fn marker(kind: ControlKind) -> Value {
    match kind {
        ControlKind::EndTransaction(Marker::Commit) => "commit".into(),
        ControlKind::EndTransaction(Marker::Abort) => "abort".into(),
        ControlKind::Other(kind) => kind.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_a_range_with_open_ends() {
        assert_eq!(offsets("10..20"), Ok(10..20));
        assert_eq!(offsets("10.."), Ok(10..i64::MAX));
        assert_eq!(offsets("..7"), Ok(0..7));
        assert!(offsets("10").is_err());
        assert!(offsets("a..b").is_err());
    }
}
