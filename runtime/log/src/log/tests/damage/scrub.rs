//! Decay while a node runs.

use std::path::PathBuf;

use super::content::{Content, config};
use crate::fs::FileSystem;
use crate::log::test_support::*;
use crate::{FlushMode, Isolation};

#[test]
fn the_scrub_finds_what_decays_while_the_node_runs() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, config(Content::Appended));
    for number in 0..30 {
        append(&log, &[&format!("value {number}")]);
    }
    assert_eq!(rig.store.scrub(), []);
    let stats = rig.store.scrub_stats();
    assert_eq!((stats.passes, stats.damaged_regions), (1, 0));
    assert!(stats.segments >= 2 && stats.bytes > 1000, "{stats:?}");
    assert_eq!(stats.last_pass_ms, Some(NOW_MS));
    let path = PathBuf::from("/data/flights-0/00000000000000000000.log");
    rig.fs.damage(&path, 100, &[0xff]);
    let found = rig.store.scrub();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].path.clone(), found[0].offsets.clone()),
        (path, 1..2)
    );
    assert_eq!(
        rig.store.scrub(),
        found,
        "known damage is not counted twice"
    );
    assert_eq!(rig.store.scrub_stats().damaged_regions, 1);
    let refused = log.read(1, 100, Isolation::LogEnd, true).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("offsets 1 to 1 cannot be read"),
        "{refused}"
    );
    assert_eq!(values_from(&log, 2, Isolation::LogEnd).len(), 28);
    // An index that decays is made anew.
    let index = PathBuf::from("/data/flights-0/00000000000000000000.index");
    let before = rig.fs.read(&index, 1 << 20).unwrap();
    rig.fs.damage(&index, 0, &[0x7f]);
    rig.store.scrub();
    assert_eq!(rig.fs.read(&index, 1 << 20).unwrap().len(), before.len());
    assert_ne!(rig.fs.read(&index, 1 << 20).unwrap()[0], 0x7f);
}
