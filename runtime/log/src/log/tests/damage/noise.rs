//! Random bytes over random places of random files, several at once: nothing panics, and nothing wrong is served.

use std::path::Path;

use super::Failures;
use super::content::Content;
use super::golden::{Golden, PARTITION, Stop};
use crate::FlushMode;
use crate::log::test_support::*;
use crate::testing::Random;

#[test]
fn noise_is_never_served() {
    let cases = std::env::var("MILLSTREAM_DAMAGE_CASES").ok();
    let cases: u64 = cases.map_or(600, |cases| cases.parse().unwrap());
    let goldens = [
        Golden::new(Content::Appended, FlushMode::Journal, Stop::Killed),
        Golden::new(Content::Compacted, FlushMode::Journal, Stop::Closed),
        Golden::new(Content::Compacted, FlushMode::Os, Stop::Killed),
    ];
    let files = goldens.each_ref().map(Golden::files);
    let mut failures = Failures::default();
    let mut opened = 0;
    for seed in 0..cases {
        let mut random = Random::new(seed);
        let which = random.below(3) as usize;
        let (golden, files) = (&goldens[which], &files[which]);
        let fs = golden.disk();
        // Mostly the partition's own files: most others refuse the start.
        let mut what = Vec::new();
        for _ in 0..=random.below(4) {
            let path = &files[random.below(files.len() as u64) as usize];
            if !path.starts_with(PARTITION) && random.chance(80) {
                continue;
            }
            let len = golden.bytes(path).len() as u64;
            let at = random.below(len);
            let count = (1 + random.below(40)).min(len - at);
            let noise: Vec<u8> = (0..count).map(|_| random.next_u64() as u8).collect();
            fs.damage(path, at, &noise);
            what.push(format!("{} {at}..{}", path.display(), at + count));
        }
        let case = format!("seed {seed}, {} {:?}: {what:?}", golden.mode, golden.stop);
        failures.run(&case, || {
            let Ok((store, _)) = golden.open(&fs) else {
                return;
            };
            let Some(log) = store.get(&id(0).topic_id, 0) else {
                return;
            };
            opened += 1;
            let log_end = log.offsets().log_end;
            golden.check_all(&log, log_end, Path::new(PARTITION), &case);
            store.scrub();
            golden.check_all(&log, log_end, Path::new(PARTITION), &case);
        });
    }
    assert!(opened > cases / 2, "{opened} of {cases} starts");
}
