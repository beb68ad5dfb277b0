//! Producer ids are given to nodes in blocks, so that a new producer does not cost a metadata record.

use std::ops::Range;

use crate::{image::Image, record::MetadataRecord};

/// Ids in one block (Kafka's size).
pub const PRODUCER_ID_BLOCK: i64 = 1_000;

/// The next block of producer ids and the record that takes it out of circulation. `None` when the ids have run out.
pub fn allocate_producer_ids(image: &Image) -> Option<(Vec<MetadataRecord>, Range<i64>)> {
    let first = image.next_producer_id();
    let next = first.checked_add(PRODUCER_ID_BLOCK)?;
    Some((vec![MetadataRecord::ProducerIds { next }], first..next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_never_overlap_and_the_end_is_an_end() {
        let image = Image::default();
        let (records, first) = allocate_producer_ids(&image).unwrap();
        assert_eq!(first, 0..1_000);
        let image = image.with(&records, 0).unwrap();
        let (_, second) = allocate_producer_ids(&image).unwrap();
        assert_eq!(second, 1_000..2_000);
        let full = image
            .with(&[MetadataRecord::ProducerIds { next: i64::MAX - 1 }], 1)
            .unwrap();
        assert!(allocate_producer_ids(&full).is_none());
    }
}
