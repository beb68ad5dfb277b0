//! Files of segments that have left their log: renamed at once, removed when it is time and nobody reads them.

use std::sync::Arc;

use super::retention::{advance, append_at, bases, fill, names, set, small};
use super::support::*;
use crate::{FlushMode, Isolation};

#[test]
fn files_are_renamed_at_once_and_removed_after_the_delay() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, small());
    fill(&rig, &log);
    let before = bases(&log);
    rig.store.checkpoint().unwrap();
    let of_second: Vec<_> = {
        let prefix = format!("{:020}.", before[1]);
        let names = names(&rig, &log).into_iter();
        names.filter(|name| name.starts_with(&prefix)).collect()
    };
    assert_eq!(of_second.len(), 5, "{of_second:?}");
    log.delete_records(before[2] + 1).unwrap();
    rig.store.apply_retention().unwrap();
    assert_eq!(bases(&log), before[2..]);
    let after = names(&rig, &log);
    for name in &of_second {
        assert!(
            !after.contains(name) && after.contains(&format!("{name}.deleted")),
            "{name}"
        );
    }
    // The snapshot at the new first segment's base is what producers are rebuilt from.
    assert!(after.contains(&format!("{:020}.snapshot", before[2])));
    advance(&rig, 59_999);
    rig.store.remove_deleted_files();
    assert_eq!(names(&rig, &log), after);
    advance(&rig, 1);
    rig.store.remove_deleted_files();
    let left = names(&rig, &log);
    assert!(
        left.iter().all(|name| !name.ends_with(".deleted")),
        "{left:?}"
    );
}

#[test]
fn who_holds_a_segment_reads_it_to_the_end() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, small());
    fill(&rig, &log);
    set(&log, |config| {
        config.retention_bytes = 0;
        config.file_delete_delay_ms = 0;
    });
    let held = Arc::clone(&log.segments.read()[1]);
    let content = |segment: &crate::segment::Segment| {
        let mut bytes = vec![0; segment.size() as usize];
        segment.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    let expected = content(&held);
    rig.store.apply_retention().unwrap();
    assert_eq!(bases(&log), [30]);
    for _ in 0..2 {
        // Every file is closed, so that it has to be opened under its new name.
        rig.shared().open_files.close_idle();
        rig.shared().open_files.close_idle();
        rig.store.remove_deleted_files();
        assert_eq!(content(&held), expected);
        log.check_indexes(&held).unwrap();
        assert!(held.anchor_before(held.base_offset() + 1).is_ok());
    }
    let left = names(&rig, &log);
    let of_held = format!("{:020}.log.deleted", held.base_offset());
    assert!(left.contains(&of_held) && !left.contains(&format!("{:020}.log.deleted", 0)));
    drop(held);
    rig.store.remove_deleted_files();
    assert!(!names(&rig, &log).contains(&of_held));
}

#[test]
fn a_log_that_is_reset_to_a_former_offset_does_not_meet_its_deleted_files() {
    let mut rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, small());
    for round in 0..3 {
        let last = append_at(&log, NOW_MS, &format!("round {round}"));
        flush(&rig.store, &last);
        assert_eq!(
            values_from(&log, 0, Isolation::Uncommitted),
            [(0, format!("round {round}"))]
        );
        if round < 2 {
            log.reset_to(0).unwrap();
        }
    }
    let found = names(&rig, &log);
    for name in ["", ".deleted", ".1.deleted"] {
        assert!(found.contains(&format!("{:020}.log{name}", 0)), "{found:?}");
    }
    drop(log);
    rig = rig.close_and_reopen();
    let log = rig.log_with(0, small());
    assert_eq!(log.offsets().log_end, 1);
    let left = names(&rig, &log);
    assert!(
        left.iter().all(|name| !name.ends_with(".deleted")),
        "{left:?}"
    );
}
