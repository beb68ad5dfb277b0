//! Rows of a file that cannot be used: `on_error` of a source.

use std::time::Duration;

use millstream_pipeline::ports::SOURCES_TOPIC;
use millstream_pipeline::testing::{Fault, MemoryEngine, Step, StoredRecord};

use crate::folder::Folder;
use crate::rig::*;

const JSON: &str = "format = \"jsonl\"\nkey = \"id\"";
const CSV: &str =
    "format = \"csv\"\nkey = \"id\"\ntimestamp = { column = \"at\", format = \"epoch-ms\" }";
const DEAD: &str = "p.source.s.dead";

fn headers(record: &StoredRecord) -> Vec<String> {
    let headers = record.headers.iter();
    headers
        .map(|(name, value)| {
            let name = String::from_utf8_lossy(name);
            let name = name
                .strip_prefix("millstream.dead.")
                .expect("a host's header");
            format!("{name}={}", text(value.as_ref()))
        })
        .collect()
}

#[tokio::test]
async fn rows_that_cannot_be_used_are_skipped_or_become_dead_letters() {
    let cases = [
        (
            CSV,
            "at,id\n5,a\nyesterday,b\n6,\"c\n7\"\n7\n8,d\n",
            vec![
                "a={\"at\":\"5\",\"id\":\"a\"}",
                "c\n7={\"at\":\"6\",\"id\":\"c\\n7\"}",
                "d={\"at\":\"8\",\"id\":\"d\"}",
            ],
            vec![
                (
                    "yesterday,b",
                    2,
                    "row 2, at byte 10: the timestamp `yesterday` is not epoch milliseconds from 1970 on",
                ),
                (
                    "7",
                    4,
                    "row 4, at byte 30: the row has 1 fields, the header 2",
                ),
            ],
        ),
        (
            JSON,
            "{\"id\":1}\n\n[1]\r\n{\"id\":2}\nlast",
            vec!["1={\"id\":1}", "2={\"id\":2}"],
            vec![
                ("[1]", 2, "row 2, at byte 10: the line is no JSON object"),
                ("last", 4, "row 4, at byte 24: the line is no JSON object"),
            ],
        ),
    ];
    for (settings, content, sound, dead) in cases {
        let rows = (sound.len() + dead.len()) as u64;
        let engine = MemoryEngine::new();
        let folder = Folder::with(content.as_bytes());
        let summary = folder
            .run(&engine, &format!("{settings}\non_error = \"skip\""))
            .await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        assert_eq!(sorted(&engine), sound);
        assert_eq!(
            (summary.records_in, summary.skipped, summary.dead_letters),
            (rows, dead.len() as u64, 0)
        );
        assert_eq!(summary.inputs[0].records, sound.len() as u64);

        let engine = MemoryEngine::new();
        let settings = format!("{settings}\non_error = {{ reject = \"dead-letter\" }}");
        let summary = folder.run(&engine, &settings).await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        assert_eq!(sorted(&engine), sound);
        assert_eq!(
            (summary.skipped, summary.dead_letters),
            (0, dead.len() as u64)
        );
        let count = summary.topics.iter().find(|count| count.topic == DEAD);
        assert_eq!(count.map(|count| count.records), Some(dead.len() as u64));
        let mut letters = engine.committed_records(DEAD);
        letters.sort_by_key(|letter| headers(letter)[4].clone());
        for (letter, (value, row, message)) in letters.iter().zip(&dead) {
            assert_eq!(text(letter.value.as_ref()), *value);
            let found = headers(letter);
            let row = format!("offset={row}");
            let expected = [
                "pipeline=p",
                "stage=source.s",
                "topic=rows",
                "partition=0",
                &row,
                "code=65537",
            ];
            assert_eq!(found[..6], expected);
            let start = format!("message={message}");
            assert!(found[6].starts_with(&start), "{}", found[6]);
        }
        assert_eq!(letters.len(), dead.len());
        // A finished file is finished, whatever is in it.
        folder.touch();
        let summary = folder.run(&engine, &settings).await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        assert_eq!(summary.records_in, 0);
    }
}

fn sorted(engine: &MemoryEngine) -> Vec<String> {
    let mut pairs = pairs(&engine.committed_records("rows"));
    pairs.sort();
    pairs
}

#[tokio::test]
async fn rows_that_do_not_fit_their_topic_go_by_the_same_policy() {
    let long = format!("{{\"id\":1,\"text\":\"{}\"}}", "x".repeat(3_000));
    let content = format!("{{\"id\":7}}\n{long}\n{{\"no\":1}}\n");
    for policy in ["skip", "dead-letter"] {
        let engine = MemoryEngine::new();
        engine.create_topic("rows", 3);
        engine.alter_topic("rows", |info| {
            info.message_bytes_max = 2_000;
            info.compacted = true;
        });
        let settings = format!("{JSON}\non_error = \"{policy}\"\ndead_letters = \"dead\"");
        let settings = match policy {
            "skip" => settings.replace("\ndead_letters = \"dead\"", ""),
            _ => settings,
        };
        let summary = Folder::with(content.as_bytes())
            .run(&engine, &settings)
            .await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        assert_eq!(sorted(&engine), ["7={\"id\":7}"]);
        assert_eq!(summary.skipped + summary.dead_letters, 2);
        if policy == "dead-letter" {
            let mut letters = engine.committed_records("dead");
            letters.sort_by_key(|letter| headers(letter)[4].clone());
            let found: Vec<_> = letters
                .iter()
                .map(|letter| headers(letter)[4..].join(" "))
                .collect();
            assert!(
                found[0].starts_with("offset=2 code=65536 message=an output for rows has about"),
                "{}",
                found[0]
            );
            assert!(
                found[1].starts_with("offset=3 code=65536 message=an output for rows has no key"),
                "{}",
                found[1]
            );
            assert_eq!(text(letters[0].key.as_ref()), "1");
        }
    }
}

/// Every seventh row cannot be used.
fn mixed(count: usize) -> String {
    let row = |n: usize| match n % 7 {
        0 => format!("broken {n}\n"),
        _ => format!("{{\"id\":{n}}}\n"),
    };
    (0..count).map(row).collect()
}

fn assert_whole(engine: &MemoryEngine, count: usize) {
    let mut found = sorted(engine);
    found.sort_by_key(|pair| pair.split_once('=').unwrap().0.parse::<usize>().unwrap());
    let expected = (0..count).filter(|n| n % 7 != 0);
    let expected: Vec<_> = expected.map(|n| format!("{n}={{\"id\":{n}}}")).collect();
    assert_eq!(found, expected);
    let mut dead: Vec<_> = engine
        .committed_records(DEAD)
        .iter()
        .map(|row| text(row.value.as_ref()))
        .collect();
    dead.sort_by_key(|row| row["broken ".len()..].parse::<usize>().unwrap());
    let expected: Vec<_> = (0..count)
        .step_by(7)
        .map(|n| format!("broken {n}"))
        .collect();
    assert_eq!(dead, expected);
}

#[tokio::test]
async fn a_stopped_source_goes_on_behind_rows_that_it_could_not_use() {
    let engine = MemoryEngine::new();
    let folder = Folder::with(mixed(2_000).as_bytes());
    let settings = format!("{JSON}\nrate = 20000\non_error = \"dead-letter\"");
    let plan = folder.plan(&engine, &settings).await;
    let workers = workers();
    let mut stops = 0;
    loop {
        let running = start(&plan, &engine, &Plugins::none(), &workers).await;
        tokio::select! {
            drained = running.drained() => {
                drained.unwrap();
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                stops += 1;
                running.stop(DEADLINE).await;
            }
        }
    }
    assert!(stops >= 2, "{stops}");
    assert_whole(&engine, 2_000);
}

#[tokio::test]
async fn crashes_at_every_step_lose_and_repeat_no_dead_letter_of_a_source() {
    let faults = [
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::UnknownDone,
        Fault::UnknownNotDone,
    ];
    for (at, fault) in (0..50).flat_map(|at| faults.map(|fault| (at, fault))) {
        let engine = MemoryEngine::new();
        let folder = Folder::with(mixed(600).as_bytes());
        let settings = format!("{JSON}\nrate = 40000\non_error = \"dead-letter\"");
        let plan = folder.plan(&engine, &settings).await;
        engine.fail(move |call, step| (call == at && step != Step::EnsureTopic).then_some(fault));
        let workers = workers();
        let running = start(&plan, &engine, &Plugins::none(), &workers).await;
        tokio::select! {
            drained = running.drained() => drained.unwrap(),
            () = engine.crashed() => {}
        }
        let survivor = engine.restart();
        survivor.heal();
        let summary = run_once(&plan, &survivor, &Plugins::none()).await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        assert_whole(&survivor, 600);
    }
}

#[tokio::test]
async fn what_was_passed_over_stays_passed_over_under_another_policy() {
    let engine = MemoryEngine::new();
    let folder = Folder::with(b"{\"id\":1}\nbroken\n{\"id\":2}\nbroken too\n");
    folder
        .run(&engine, &format!("{JSON}\non_error = \"skip\""))
        .await;
    folder.touch();
    // The file is read again to make sure that it is the same; its broken rows belong to the past.
    let summary = folder.run(&engine, JSON).await;
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    assert_eq!(engine.committed_records("rows").len(), 2);
    folder.write(b"{\"id\":1}\nbroken\n{\"id\":3}\nbroken too\n");
    let summary = folder.run(&engine, JSON).await;
    let message = &summary.failures[0];
    assert!(
        message.contains("has changed since it was read"),
        "{message}"
    );
    folder.write(b"{\"id\":1}\nbroken\n{\"id\":2}\nbroken too\nanother\n");
    let summary = folder.run(&engine, JSON).await;
    assert!(
        summary.failures[0].contains("now it has more"),
        "{:?}",
        summary.failures
    );
    let progress = engine.committed_records(SOURCES_TOPIC);
    let value = text(progress.last().unwrap().value.as_ref());
    assert!(value.contains("\"records\":4"), "{value}");
}
