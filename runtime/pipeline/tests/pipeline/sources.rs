//! Files as sources: what becomes of their rows, and that each counts once.

use std::time::{Duration, Instant};

use millstream_pipeline::manifest::{Entry, Manifest};
use millstream_pipeline::ports::SOURCES_TOPIC;
use millstream_pipeline::source::check_columns;
use millstream_pipeline::task::FileStatus;
use millstream_pipeline::task::partitioner::partition_for_key;
use millstream_pipeline::testing::{Fault, MemoryEngine, Step, StoredRecord};

use crate::folder::Folder;
use crate::rig::*;

fn by_timestamp(engine: &MemoryEngine) -> Vec<StoredRecord> {
    let mut records = engine.committed_records("rows");
    records.sort_by_key(|record| record.timestamp);
    records
}

fn progress(engine: &MemoryEngine) -> serde_json::Value {
    let records = engine.committed_records(SOURCES_TOPIC);
    let newest = records.last().unwrap();
    assert_eq!(text(newest.key.as_ref()), "p/s");
    serde_json::from_slice(newest.value.as_ref().unwrap()).unwrap()
}

#[test]
fn columns_that_a_file_does_not_have_are_pointed_at_before_anything_runs() {
    let check = |content: &[u8], settings: &str| -> Vec<String> {
        let folder = Folder::with(content);
        let text = format!(
            "manifest = 1\npipeline = \"p\"\n[source.s]\nfile = \"rows\"\ntopic = \"rows\"\n{settings}\n"
        );
        let (manifest, report) = Manifest::read_text(&folder.manifest(), text);
        assert!(report.is_empty(), "{report}");
        let manifest = manifest.unwrap();
        let report = manifest.report(check_columns(&manifest));
        let told = |entry: &Entry<'_>| {
            let help = entry.problem.help.as_deref().unwrap_or_default();
            let message = &entry.problem.message;
            format!("{}:{} {message} [{help}]", entry.line, entry.column)
        };
        report.entries().iter().map(told).collect()
    };
    let settings = "format = \"csv\"\nkey = \"airport\"\ntimestamp = { column = \"wen\", format = \"rfc3339\" }";
    let zipped = zstd::encode_all(CSV.as_bytes(), 1).unwrap();
    for content in [CSV.as_bytes(), &zipped] {
        assert_eq!(
            check(content, settings),
            [
                "7:7 the file `rows` has no column `airport` [it has `when`, `dest` and `note`]",
                "8:24 the file `rows` has no column `wen` [did you mean `when`?]",
            ]
        );
        assert_eq!(check(content, CSV_SETTINGS), [""; 0]);
    }
    assert_eq!(
        check(b"", CSV_SETTINGS),
        ["4:8 rows has no header row [Correct the source in the manifest, or the file]"]
    );
    // The first object of a file need not have what others have, so these are warnings.
    let json = b"\n{\"dest\":1,\"at\":2}\n{\"airport\":1}\n";
    assert_eq!(
        check(json, "format = \"jsonl\"\nkey = \"airport\""),
        ["7:7 the first object of the file `rows` has no field `airport` [it has `at` and `dest`]"]
    );
    assert_eq!(
        check(json, "format = \"jsonl\"\nkey = \"dst\""),
        ["7:7 the first object of the file `rows` has no field `dst` [did you mean `dest`?]"]
    );
    for (content, settings) in [
        (&json[..], "format = \"jsonl\"\nkey = \"dest\""),
        (json, "format = \"jsonl\""),
        (b"no object", "format = \"jsonl\"\nkey = \"a\""),
        (b"", "format = \"jsonl\"\nkey = \"a\""),
    ] {
        assert_eq!(check(content, settings), [""; 0]);
    }
}

const CSV: &str = "when,dest,note\r\n\
2013-01-01T10:00:00Z,IAH,plain\r\n\
2013-01-01T11:00:00Z,MIA,\"with, comma and \"\"quotes\"\"\"\r\n\
2013-01-01T12:00:00Z,IAH,\"two\nlines \\ back\"\r\n";
const CSV_SETTINGS: &str =
    "format = \"csv\"\nkey = \"dest\"\ntimestamp = { column = \"when\", format = \"rfc3339\" }";

#[tokio::test]
async fn csv_rows_become_json_objects_in_the_columns_order() {
    let engine = MemoryEngine::new();
    let summary = Folder::with(CSV.as_bytes())
        .run(&engine, CSV_SETTINGS)
        .await;
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    assert_eq!(summary.records_in, 3);
    let rows = by_timestamp(&engine);
    assert_eq!(
        pairs(&rows),
        [
            r#"IAH={"when":"2013-01-01T10:00:00Z","dest":"IAH","note":"plain"}"#,
            r#"MIA={"when":"2013-01-01T11:00:00Z","dest":"MIA","note":"with, comma and \"quotes\""}"#,
            r#"IAH={"when":"2013-01-01T12:00:00Z","dest":"IAH","note":"two\nlines \\ back"}"#,
        ]
    );
    for row in &rows {
        assert_eq!(
            row.partition,
            partition_for_key(row.key.as_ref().unwrap(), 3)
        );
        serde_json::from_slice::<serde_json::Value>(row.value.as_ref().unwrap()).unwrap();
    }
    assert_eq!(rows[0].timestamp, 1_357_034_400_000);
    let progress = progress(&engine);
    assert_eq!(progress["done"], true);
    assert_eq!(progress["records"], 3);
    assert_eq!(progress["position"], CSV.len());
    assert_eq!(progress["file"], "rows");
}

#[tokio::test]
async fn a_watcher_sees_how_much_of_the_file_itself_is_read() {
    let engine = MemoryEngine::new();
    let rows: String = (0..50_000).map(|row| format!("{row}\n")).collect();
    let zipped = zstd::encode_all(rows.as_bytes(), 1).unwrap();
    let folder = Folder::with(&zipped);
    let whole = FileStatus {
        read: zipped.len() as u64,
        bytes: zipped.len() as u64,
    };
    // Read to its end, and known to be finished.
    for records in [50_000, 0] {
        let plan = folder.plan(&engine, "format = \"lines\"").await;
        let workers = workers();
        let running = start(&plan, &engine, &Plugins::none(), &workers).await;
        running.drained().await.unwrap();
        let progress = running.progress();
        assert_eq!(progress.tasks[0].file, Some(whole));
        assert_eq!(progress.records_in, records);
        running.stop(DEADLINE).await;
    }
}

#[tokio::test]
async fn raw_rows_keep_their_bytes() {
    let engine = MemoryEngine::new();
    let settings = format!("{CSV_SETTINGS}\nvalue = \"raw\"");
    Folder::with(CSV.as_bytes()).run(&engine, &settings).await;
    assert_eq!(
        pairs(&by_timestamp(&engine)),
        [
            "IAH=2013-01-01T10:00:00Z,IAH,plain",
            "MIA=2013-01-01T11:00:00Z,MIA,\"with, comma and \"\"quotes\"\"\"",
            "IAH=2013-01-01T12:00:00Z,IAH,\"two\nlines \\ back\"",
        ]
    );
}

#[tokio::test]
async fn json_lines_give_key_and_timestamp_from_their_fields() {
    let engine = MemoryEngine::new();
    let lines = "{\"id\": 7, \"at\": \"5\", \"x\": {\"id\": 9}}\n\n{\"at\":\"6\",\"id\":\"é\"}\r\n{\"id\":null,\"at\":\"7\"}";
    let settings =
        "format = \"jsonl\"\nkey = \"id\"\ntimestamp = { column = \"at\", format = \"epoch-ms\" }";
    let summary = Folder::with(lines.as_bytes()).run(&engine, settings).await;
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    assert_eq!(
        pairs(&by_timestamp(&engine)),
        [
            "7={\"id\": 7, \"at\": \"5\", \"x\": {\"id\": 9}}",
            "é={\"at\":\"6\",\"id\":\"é\"}",
            "-={\"id\":null,\"at\":\"7\"}",
        ]
    );
}

#[tokio::test]
async fn lines_keep_what_stands_in_them_zstd_or_not() {
    let lines = b"one\n\n  three \r\nlast without an end";
    let packed = zstd::encode_all(&lines[..], 3).unwrap();
    for content in [&lines[..], &packed] {
        let engine = MemoryEngine::new();
        Folder::with(content)
            .run(&engine, "format = \"lines\"")
            .await;
        let rows = engine.committed_records("rows");
        assert_eq!(
            pairs(&rows),
            ["-=one", "-=", "-=  three ", "-=last without an end"]
        );
        assert_eq!(progress(&engine)["position"], lines.len());
    }
}

fn many_lines(count: usize) -> String {
    (0..count).map(|n| format!("line {n}\n")).collect()
}

fn assert_whole(engine: &MemoryEngine, count: usize) {
    let mut rows: Vec<usize> = engine
        .committed_records("rows")
        .iter()
        .map(|row| {
            text(row.value.as_ref())
                .strip_prefix("line ")
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_finished_source_is_not_read_again() {
    let engine = MemoryEngine::new();
    let folder = Folder::with(many_lines(10).as_bytes());
    folder.run(&engine, "format = \"lines\"").await;
    let summary = folder.run(&engine, "format = \"lines\"").await;
    assert_eq!((summary.records_in, summary.transactions), (0, 0));
    assert_whole(&engine, 10);
}

#[tokio::test]
async fn a_stopped_source_goes_on_where_it_was() {
    let engine = MemoryEngine::new();
    let folder = Folder::with(many_lines(2_000).as_bytes());
    let settings = "format = \"lines\"\nrate = 20000";
    let plan = folder.plan(&engine, settings).await;
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
async fn crashes_at_every_step_of_a_source_lose_and_repeat_nothing() {
    for (at, fault) in (0..40).flat_map(|at| {
        let faults = [
            Fault::CrashBefore,
            Fault::CrashAfter,
            Fault::UnknownDone,
            Fault::UnknownNotDone,
        ];
        faults.map(|fault| (at, fault))
    }) {
        let engine = MemoryEngine::new();
        let folder = Folder::with(many_lines(600).as_bytes());
        // Small batches, so that there are several transactions.
        let plan = folder
            .plan(&engine, "format = \"lines\"\nrate = 40000")
            .await;
        engine.fail(move |call, step| {
            // Topics are created before the tasks start; that is not what this is about.
            (call == at && step != Step::EnsureTopic).then_some(fault)
        });
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
async fn a_file_that_changed_is_an_error() {
    let settings = "format = \"lines\"";
    let done = many_lines(100);
    let cases: [(&str, String, &str); 4] = [
        ("grown", many_lines(101), "now it has more"),
        ("shrunk", many_lines(99), "now it has 99"),
        (
            "edited",
            done.replace("line 7\n", "line 8\n"),
            "are not what they were",
        ),
        ("unreadable", String::new(), "now it has 0"),
    ];
    for (name, content, expected) in cases {
        let engine = MemoryEngine::new();
        let folder = Folder::with(done.as_bytes());
        folder.run(&engine, settings).await;
        folder.write(content.as_bytes());
        folder.touch();
        let summary = folder.run(&engine, settings).await;
        let message = summary.failures.first().unwrap_or_else(|| panic!("{name}"));
        assert!(
            message.contains("has changed since it was read") && message.contains(expected),
            "{message}"
        );
        assert_whole(&engine, 100);
    }
}

#[tokio::test]
async fn the_same_content_under_a_new_date_is_the_same_file() {
    let engine = MemoryEngine::new();
    let folder = Folder::with(many_lines(100).as_bytes());
    folder.run(&engine, "format = \"lines\"").await;
    folder.touch();
    let summary = folder.run(&engine, "format = \"lines\"").await;
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    assert_whole(&engine, 100);
}

#[tokio::test]
async fn rows_before_a_broken_one_are_produced_and_the_message_names_it() {
    let cases = [
        (
            CSV_SETTINGS,
            "when,dest,note\n2013-01-01T10:00:00Z,A,x\nyesterday,B,y\n",
            "row 2, at byte 40: the timestamp `yesterday` is not RFC 3339",
        ),
        (
            CSV_SETTINGS,
            "when,dest,note\n2013-01-01T10:00:00Z,A,x\n2013-01-01T10:00:00Z,B\n",
            "row 2, at byte 40: the row has 2 fields, the header 3",
        ),
        (
            "format = \"jsonl\"\nkey = \"id\"",
            "{\"id\":1}\n[1]\n",
            "row 2, at byte 9: the line is no JSON object",
        ),
    ];
    for (settings, content, expected) in cases {
        let engine = MemoryEngine::new();
        let summary = Folder::with(content.as_bytes())
            .run(&engine, settings)
            .await;
        let message = summary.failures.first().unwrap();
        assert!(message.contains(expected), "{message}");
        assert!(
            message.starts_with("pipeline p, stage source.s: rows, "),
            "{message}"
        );
        assert_eq!(engine.committed_records("rows").len(), 1, "{content}");
        // What stands in front of the broken row is what it was, so the source goes on there.
        assert_eq!(progress(&engine)["records"], 1);
    }
}

#[tokio::test]
async fn a_column_that_is_not_there_is_named_with_those_that_are() {
    let engine = MemoryEngine::new();
    let settings = "format = \"csv\"\nkey = \"destt\"";
    let summary = Folder::with(CSV.as_bytes()).run(&engine, settings).await;
    let message = &summary.failures[0];
    assert!(
        message.contains("has no column `destt`; it has when, dest, note (did you mean `dest`?)"),
        "{message}"
    );
    let summary = Folder::with(b"").run(&engine, settings).await;
    assert!(
        summary.failures[0].contains("has no header row"),
        "{:?}",
        summary.failures
    );
}

#[tokio::test]
async fn a_paced_source_takes_its_time() {
    let engine = MemoryEngine::new();
    let folder = Folder::with(many_lines(50).as_bytes());
    let start = Instant::now();
    folder.run(&engine, "format = \"lines\"\nrate = 500").await;
    // 50 rows at 500 a second: 100 ms, of which the last slice need not be waited for.
    assert!(
        start.elapsed() >= Duration::from_millis(90),
        "{:?}",
        start.elapsed()
    );
    assert_whole(&engine, 50);
}

#[tokio::test]
async fn a_large_file_is_more_than_one_transaction() {
    let engine = MemoryEngine::new();
    let folder = Folder::with(many_lines(300_000).as_bytes());
    let summary = folder.run(&engine, "format = \"lines\"").await;
    assert!(summary.transactions > 1);
    assert_whole(&engine, 300_000);
}
