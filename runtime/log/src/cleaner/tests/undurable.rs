//! What a power cut may take back must not decide what a pass drops.

use millstream_records::{BatchBuilder, BatchOptions, Marker, ProducerStamp};

use super::{compacted, fill, settle, view};
use crate::log::test_support::Rig;
use crate::{AppendOptions, FlushMode};

#[test]
fn without_a_journal_an_abort_counts_when_a_checkpoint_has_it() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, compacted());
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: Some(ProducerStamp {
            id: 1,
            epoch: 0,
            base_sequence: 0,
        }),
        transactional: true,
        ..BatchOptions::default()
    });
    builder.append(0, Some(b"key"), Some(b"value"), []).unwrap();
    let options = AppendOptions::client(0).verified_by(log.verification_guard(1, 0, 0));
    log.append(&mut builder.build().unwrap(), options).unwrap();
    settle(&rig, &log);
    log.append_marker(Marker::Abort, 1, 0, 0, 0).unwrap();
    fill(&log, 1, 1);
    assert_eq!(rig.store.clean_dirtiest().unwrap(), None);
    assert!(
        view(&log).0.contains(&0),
        "the transaction may be open again"
    );
    settle(&rig, &log);
    assert!(rig.store.clean_dirtiest().unwrap().is_some());
    assert!(!view(&log).0.contains(&0), "aborted for good");
}
