//! Record batches as a producer sends them, uncompressed.

use anyhow::Result;
use millstream_records::{BatchBuilder, BatchOptions};

/// One batch of records of this size each, together about `batch_bytes`.
pub fn of_records(record_bytes: usize, batch_bytes: usize) -> Result<Vec<u8>> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value: Vec<u8> = (0..record_bytes).map(|at| (at * 31 % 251) as u8).collect();
    let records = (batch_bytes / record_bytes).max(1);
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_millis();
    let now_ms = i64::try_from(now_ms)?;
    for _ in 0..records {
        builder.append(now_ms, None, Some(&value), std::iter::empty())?;
    }
    Ok(builder.build()?)
}
