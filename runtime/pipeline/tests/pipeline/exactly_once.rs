//! Exactly once, whatever fails: random faults and crashes, then the output is compared with what
//! it should be.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_pipeline::run::{Summary, Workers, run};
use millstream_pipeline::task::partitioner::partition_for_key;
use millstream_pipeline::testing::{
    Fault, FunctionPlugin, KeyValue, MemoryEngine, Step, StoredRecord,
};
use millstream_records::Marker;
use proptest::prelude::*;

use crate::rig::*;

/// A small generator, so that one seed gives one run's faults.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

const BODY: &str = "commit = { max_interval = \"1ms\" }\n\
[stage.first]\nplugin = \"first\"\ninputs = \"in\"\noutputs = \"middle\"\n\
[stage.second]\nplugin = \"second\"\ninputs = \"middle\"\noutputs = { a = \"a\", b = \"b\" }\non_error = { reject = \"skip\" }\n";

/// `first` refuses values with a 7 at the end and doubles those with a 3; `second` splits by the
/// key and skips what has a 5 at the end. Values name the input partition and a number.
fn plugins(consume_max: u32) -> Plugins {
    let first = FunctionPlugin::new(1, |event, call| {
        let value = event.value.unwrap();
        if value.ends_with(b"7") {
            call.refuse(7, "seven");
            return Ok(());
        }
        let headers = [(b"from".as_slice(), Some(value))];
        for _ in 0..=usize::from(value.ends_with(b"3")) {
            let record = call.emit(0, event.key, event.value);
            for (name, value) in headers {
                call.with_header(record, name, value);
            }
        }
        Ok(())
    });
    let second = FunctionPlugin::new(2, |event, call| {
        let value = event.value.unwrap();
        if value.ends_with(b"5") {
            call.refuse(5, "five");
            return Ok(());
        }
        let output = u16::from(event.key.is_some_and(|key| key[0] % 2 == 0));
        call.emit(output, event.key, event.value);
        Ok(())
    });
    Plugins::one("first", &["out"], first.consuming(consume_max)).and("second", &["a", "b"], second)
}

/// Fills the input: plain records, committed and aborted transactions.
fn fill(engine: &MemoryEngine, random: &mut Random, partitions: i32, batches: u64) {
    let mut number = 0;
    for batch in 0..batches {
        let partition = random.below(partitions as u64) as i32;
        let records = 1 + random.below(20);
        let mut values = Vec::new();
        for _ in 0..records {
            values.push(format!("{partition}:{number}"));
            number += 1;
        }
        match random.below(4) {
            0 | 1 => {
                let keys: Vec<Option<String>> = values
                    .iter()
                    .map(|_| (random.below(4) > 0).then(|| format!("k{}", random.below(9))))
                    .collect();
                let pairs: Vec<_> = keys
                    .iter()
                    .zip(&values)
                    .map(|(key, value)| {
                        (key.as_ref().map(|k| k.as_bytes()), Some(value.as_bytes()))
                    })
                    .collect();
                engine.produce("in", partition, &pairs).unwrap();
            }
            kind => {
                let marker = if kind == 2 {
                    Marker::Commit
                } else {
                    Marker::Abort
                };
                let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
                let id = format!("client-{batch}");
                engine
                    .produce_in_transaction(&id, ("in", partition), &values, Some(marker))
                    .unwrap();
            }
        }
    }
}

/// What one fault may be at one step.
fn fault_at(step: Step, random: &mut Random) -> Option<Fault> {
    let faults: &[Fault] = match step {
        Step::EnsureTopic => &[Fault::CrashBefore, Fault::CrashAfter, Fault::Delay],
        Step::Committed => &[
            Fault::Unstable,
            Fault::NotLeader,
            Fault::CrashBefore,
            Fault::Delay,
        ],
        Step::Topic | Step::Input | Step::Read | Step::Bounds | Step::Begin => {
            &[Fault::NotLeader, Fault::CrashBefore, Fault::Delay]
        }
        Step::Acquire | Step::Append | Step::Offsets | Step::Commit | Step::Abort => &[
            Fault::NotLeader,
            Fault::UnknownDone,
            Fault::UnknownNotDone,
            Fault::CrashBefore,
            Fault::CrashAfter,
            Fault::Delay,
        ],
    };
    Some(faults[random.below(faults.len() as u64) as usize])
}

/// Runs the pipeline to its end, starting it again after each crash.
async fn run_through(
    engine: &MemoryEngine,
    plugins: &Plugins,
    seed: u64,
    faults: u64,
) -> (Summary, u32) {
    let workers = Workers::new(Some(2)).unwrap();
    let plan = plan(BODY, engine, plugins).await;
    let mut random = Random(seed);
    let mut left = faults;
    engine.fail(move |_, step| {
        if left == 0 || random.below(12) > 0 {
            return None;
        }
        left -= 1;
        fault_at(step, &mut random)
    });
    let mut engine = engine.clone();
    let mut crashes = 0;
    loop {
        let started = run(plan.clone(), engine.clone(), plugins.factories(), &workers);
        let running = tokio::select! {
            running = started => running.unwrap(),
            () = engine.crashed() => {
                crashes += 1;
                engine = engine.restart();
                continue;
            }
        };
        let drained = async {
            // The question itself may meet a fault.
            while running.drained().await.is_err() {}
        };
        tokio::select! {
            () = drained => return (running.stop(DEADLINE).await, crashes),
            () = engine.crashed() => {
                crashes += 1;
                drop(running);
                engine = engine.restart();
            }
            () = tokio::time::sleep(Duration::from_secs(60)) => {
                panic!("stuck: {:#?}", running.progress());
            }
        }
    }
}

type Compared = (Option<Vec<u8>>, Option<Vec<u8>>);

fn compared(record: &StoredRecord) -> Compared {
    (record.key.clone(), record.value.clone())
}

/// How often each record should be there.
fn expected(engine: &MemoryEngine) -> BTreeMap<&'static str, BTreeMap<Compared, usize>> {
    let mut topics: BTreeMap<&str, BTreeMap<Compared, usize>> = BTreeMap::new();
    for record in engine.committed_records("in") {
        let value = record.value.clone().unwrap();
        let mut put = |topic, times| {
            *topics
                .entry(topic)
                .or_default()
                .entry(compared(&record))
                .or_default() += times;
        };
        if value.ends_with(b"7") {
            put("p.first.dead", 1);
            continue;
        }
        let times = 1 + usize::from(value.ends_with(b"3"));
        put("middle", times);
        if !value.ends_with(b"5") {
            let even = record.key.as_ref().is_some_and(|key| key[0] % 2 == 0);
            put(if even { "b" } else { "a" }, times);
        }
    }
    topics
}

fn check(engine: &MemoryEngine) {
    let expected = expected(engine);
    for topic in ["middle", "p.first.dead", "a", "b"] {
        let records = engine.committed_records(topic);
        let mut found: BTreeMap<Compared, usize> = BTreeMap::new();
        for record in &records {
            *found.entry(compared(record)).or_default() += 1;
        }
        let wanted = expected.get(topic).cloned().unwrap_or_default();
        assert_eq!(found, wanted, "{topic}");
        check_order(topic, &records);
    }
}

/// Records of one key and input partition stand in order, and behind the first stage all records of
/// one input partition that share an output partition do.
fn check_order(topic: &str, records: &[StoredRecord]) {
    let mut newest: BTreeMap<(i32, String, Option<Vec<u8>>), u64> = BTreeMap::new();
    let first_stage = matches!(topic, "middle" | "p.first.dead");
    for record in records {
        if let Some(key) = &record.key
            && topic != "p.first.dead"
        {
            assert_eq!(record.partition, partition_for_key(key, 3), "{topic}");
        }
        let value = String::from_utf8(record.value.clone().unwrap()).unwrap();
        let (origin, number) = value.split_once(':').unwrap();
        let number: u64 = number.parse().unwrap();
        let key = match first_stage {
            true => None,
            // Those without a key may take several ways through the topic between the stages.
            false if record.key.is_none() => continue,
            false => record.key.clone(),
        };
        let slot = newest
            .entry((record.partition, origin.to_owned(), key))
            .or_default();
        assert!(*slot <= number, "{topic}: {value} behind {slot}");
        *slot = number;
    }
}

#[test]
fn the_comparison_finds_a_record_too_many_or_too_few() {
    let engine = MemoryEngine::new();
    for topic in ["in", "middle", "a", "b", "p.first.dead"] {
        engine.create_topic(topic, 3);
    }
    engine
        .produce("in", 0, &[(Some(b"k1"), Some(b"0:1"))])
        .unwrap();
    let partition = partition_for_key(b"k1", 3);
    let record: [KeyValue<'_>; 1] = [(Some(b"k1"), Some(b"0:1"))];
    let complete = |engine: &MemoryEngine| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(engine))).is_ok()
    };
    engine.produce("middle", partition, &record).unwrap();
    assert!(!complete(&engine), "a record is missing");
    engine.produce("a", partition, &record).unwrap();
    assert!(complete(&engine));
    engine.produce("a", partition, &record).unwrap();
    assert!(!complete(&engine), "a record is there twice");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_counts_once_whatever_fails(
        seed in any::<u64>(),
        batches in 1_u64..60,
        faults in 0_u64..40,
        consume_max in 1_u32..50,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let engine = MemoryEngine::new();
            engine.create_topic("in", 3);
            fill(&engine, &mut Random(seed), 3, batches);
            let plugins = plugins(consume_max);
            let (summary, _) = run_through(&engine, &plugins, seed, faults).await;
            assert!(summary.failures.is_empty(), "{:?}", summary.failures);
            check(&engine);
        });
    }
}

#[tokio::test]
async fn crashes_at_every_single_step_lose_and_repeat_nothing() {
    // One crash, at the nth call, for each n up to about the end of the run.
    for (at, fault) in (0..150).flat_map(|at| [(at, Fault::CrashBefore), (at, Fault::CrashAfter)]) {
        let engine = MemoryEngine::new();
        engine.create_topic("in", 3);
        fill(&engine, &mut Random(7), 3, 12);
        let plugins = plugins(u32::MAX);
        let workers = Workers::new(Some(1)).unwrap();
        let plan = plan(BODY, &engine, &plugins).await;
        engine.fail(move |call, _| (call == at).then_some(fault));
        let started = run(plan.clone(), engine.clone(), plugins.factories(), &workers);
        let running = tokio::select! {
            running = started => Some(running.unwrap()),
            () = engine.crashed() => None,
        };
        if let Some(running) = running {
            tokio::select! {
                drained = running.drained() => drained.unwrap(),
                () = engine.crashed() => {}
            }
        }
        let survivor = engine.restart();
        survivor.heal();
        run_once(&plan, &survivor, &plugins).await;
        check(&survivor);
    }
}
