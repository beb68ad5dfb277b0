//! What is in the logs that are damaged.

use std::time::Duration;

use millstream_records::{BatchBuilder, BatchOptions, Compression, Marker};

use crate::log::test_support::*;
use crate::{AppendOptions, CleanupPolicy, Log, LogConfig};

/// What is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// As it was appended: plain batches, committed and aborted transactions, several leader epochs.
    Appended,
    /// Such a log after a pass of the cleaner, with tombstones, offsets that are left out, and some more behind. Its
    /// first records were deleted.
    Compacted,
}

pub(super) fn config(content: Content) -> LogConfig {
    let config = LogConfig {
        segment_bytes: 450,
        index_interval_bytes: 150,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    };
    match content {
        Content::Appended => config,
        Content::Compacted => LogConfig {
            segment_bytes: 900,
            cleanup: CleanupPolicy {
                delete: false,
                compact: true,
            },
            min_cleanable_dirty_ratio: 0.0,
            delete_retention_ms: 1000,
            ..config
        },
    }
}

/// Records of these keys and values; those without a value are tombstones.
pub(super) fn keyed(
    records: &[(&str, Option<&str>)],
    stamp: Option<(i64, i32)>,
    compression: Compression,
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: stamp.and_then(|(id, sequence)| producer(id, 0, sequence)),
        transactional: stamp.is_some(),
        compression,
        ..BatchOptions::default()
    });
    for (at, (key, value)) in (NOW_MS..).zip(records) {
        let value = value.map(str::as_bytes);
        builder.append(at, Some(key.as_bytes()), value, []).unwrap();
    }
    builder.build().unwrap()
}

/// Appends a plain batch and a transaction for each number: every other one is aborted.
pub(super) fn fill(rig: &Rig, log: &Log, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let epoch = (number / 4) as i32;
        let key = format!("key-{}", number % 3);
        let value = format!("value {number}");
        let mut plain = keyed(&[(&key, Some(&value))], None, Compression::None);
        log.append(&mut plain, AppendOptions::client(epoch))
            .unwrap();
        let is_aborted = number % 2 == 0;
        let own = format!("own-{number}");
        let gone = (number % 3 == 0).then_some("x");
        let compression = [Compression::None, Compression::Lz4][usize::from(number % 4 > 1)];
        let records = [
            (&*key, Some(&*value)),
            (&*own, gone.or(Some(&*value))),
            ("tomb", None),
        ];
        let count = 1 + (number % 3) as usize;
        let mut batch = keyed(&records[..count], Some((number, 0)), compression);
        let guard = log.verification_guard(number, 0, 0);
        let options = AppendOptions::client(epoch).verified_by(guard);
        log.append(&mut batch, options).unwrap();
        let marker = [Marker::Commit, Marker::Abort][usize::from(is_aborted)];
        let last = log.append_marker(marker, number, 0, 0, epoch).unwrap();
        flush(&rig.store, &last);
        rig.clock.advance(Duration::from_millis(1));
    }
}
