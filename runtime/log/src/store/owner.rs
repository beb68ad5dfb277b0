//! Whose directory it is: `meta.properties`.

use uuid::Uuid;

use super::StoreError;
use crate::StoreOptions;
use crate::checkpoint::{MetaProperties, id_to_text};

/// Refuses the directory of another node or cluster.
pub(super) fn check(meta: &MetaProperties, options: &StoreOptions) -> Result<(), StoreError> {
    let foreign = |what, found: String, expected: String| StoreError::ForeignDirectory {
        dir: options.dir.clone(),
        what,
        found,
        expected,
    };
    if meta.node_id != options.node_id {
        let (found, expected) = (meta.node_id.to_string(), options.node_id.to_string());
        return Err(foreign("node", found, expected));
    }
    match &options.cluster_id {
        Some(expected) if *expected != meta.cluster_id => Err(foreign(
            "cluster",
            meta.cluster_id.clone(),
            expected.clone(),
        )),
        _ => Ok(()),
    }
}

/// What a new directory gets.
pub(super) fn new(options: &StoreOptions) -> MetaProperties {
    let cluster_id = options.cluster_id.clone();
    MetaProperties {
        cluster_id: cluster_id.unwrap_or_else(|| id_to_text(Uuid::new_v4())),
        node_id: options.node_id,
        directory_id: Uuid::new_v4(),
    }
}
