//! Honest guests: what they emit is what the host reads.

use std::sync::Arc;

use millstream_plugin_host::frames::{EffectsWriter, FieldAt};
use millstream_plugin_host::{
    Diagnostics, Effects, InstantiateError, Limits, LogLevel, OutcomeKind, PluginFailure,
    ProcessError,
};
use parking_lot::Mutex;

use crate::guest::{FRAME, Guest, context, events, instantiate};

/// Outcomes as text: outputs `target key value headers`, or the refusal.
fn texts(effects: &Effects<'_>) -> Vec<Vec<String>> {
    let text =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"null")).into_owned();
    effects
        .outcomes()
        .map(|outcome| match outcome.kind {
            OutcomeKind::Refused { code, message } => vec![format!("refused {code} {message}")],
            OutcomeKind::Emitted(outputs) => outputs
                .map(|output| {
                    let headers: String = output
                        .headers
                        .iter()
                        .map(|(n, v)| format!(" {}={}", text(Some(n)), text(v)))
                        .collect();
                    format!(
                        "{} {} {}{headers}",
                        output.output,
                        text(output.key),
                        text(output.value)
                    )
                })
                .collect(),
        })
        .collect()
}

#[tokio::test]
async fn effects_come_event_by_event_with_fields_of_both_frames() {
    let frame = events(4);
    let first = frame.view().event(0).unwrap();
    let position =
        (first.value.unwrap().as_ptr() as usize - frame.bytes().as_ptr() as usize) as u32;
    let mut writer = EffectsWriter::new();
    writer.begin(0);
    let key = writer.field(b"own");
    let output = writer.output(
        1,
        key,
        FieldAt::Events {
            position,
            length: 7,
        },
    );
    writer.set_headers_of_event(output, 0, 1);
    writer.begin(2);
    let lost = writer.field(b"lost");
    writer.output(0, FieldAt::Null, lost);
    writer.fail(2, 7, "no good");
    writer.begin(3);
    let output = writer.output(0, FieldAt::Null, FieldAt::Null);
    writer.add_header(output, b"h", None);
    writer.add_header(output, b"i", Some(b"j"));
    let again = writer.field(b"");
    writer.output(0, again, FieldAt::Null);

    let mut instance = Guest::emitting(writer.finish(), 4)
        .open(Limits::default())
        .await;
    for _ in 0..3 {
        let processed = instance.process(&frame).await.unwrap();
        assert_eq!(processed.consumed, 4);
        assert_eq!(
            texts(&processed.effects),
            [
                vec!["1 own value-0 name=header".to_owned()],
                vec![],
                vec!["refused 7 no good".to_owned()],
                vec!["0 null null h=null i=j".to_owned(), "0  null".to_owned()],
            ]
        );
    }
}

#[tokio::test]
async fn an_event_may_go_on_in_a_second_frame() {
    let mut writer = EffectsWriter::new();
    writer.begin(0);
    let value = writer.field(b"one");
    writer.output(0, FieldAt::Null, value);
    let first = writer.finish().to_vec();
    writer.clear();
    let value = writer.field(b"two");
    let output = writer.output(1, FieldAt::Null, value);
    writer.add_header(output, b"n", Some(b"v"));
    let second = writer.finish().to_vec();
    let (one, two) = (first.len(), second.len());
    let mut guest = Guest::new(format!(
        "(call $emit (i32.const {FRAME}) (i32.const {one}))
         (call $emit (i32.const {}) (i32.const {two}))
         (i32.const 1)",
        FRAME as usize + one
    ));
    guest.data = [first, second].concat();
    let mut instance = guest.open(Limits::default()).await;
    let frame = events(1);
    let processed = instance.process(&frame).await.unwrap();
    assert_eq!(
        texts(&processed.effects),
        [vec!["0 null one".to_owned(), "1 null two n=v".to_owned()]]
    );
}

#[tokio::test]
async fn fewer_events_may_be_consumed() {
    let mut instance = Guest::new("(i32.const 2)").open(Limits::default()).await;
    let frame = events(5);
    let processed = instance.process(&frame).await.unwrap();
    assert_eq!(
        (processed.consumed, processed.effects.outcomes().count()),
        (2, 2)
    );
}

/// A guest whose memory counts calls: it traps in its third.
fn forgetful() -> Guest {
    Guest::new("(if (i32.eq (global.get $calls) (i32.const 3)) (then (unreachable))) (i32.const 1)")
}

#[tokio::test]
async fn after_a_failure_the_next_call_has_a_fresh_guest() {
    let mut instance = forgetful().open(Limits::default()).await;
    let frame = events(1);
    for round in 0..2 {
        for call in 0..2 {
            assert!(
                instance.process(&frame).await.is_ok(),
                "round {round} call {call}"
            );
        }
        let error = instance.process(&frame).await.unwrap_err();
        assert!(
            matches!(error, ProcessError::Plugin(PluginFailure::Trap { .. })),
            "{error}"
        );
        assert!(!instance.is_live());
    }
}

#[tokio::test]
async fn a_reset_makes_the_guest_anew() {
    let mut instance = forgetful().open(Limits::default()).await;
    let frame = events(1);
    for _ in 0..5 {
        assert!(instance.process(&frame).await.is_ok());
        instance.reset();
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_takes_its_guest_along() {
    let endless = Guest::new(
        "(if (i32.eq (global.get $calls) (i32.const 2)) (then (loop $again (br $again)))) (i32.const 1)",
    );
    let mut instance = endless
        .open(Limits {
            call_cpu: std::time::Duration::from_secs(60),
            ..Limits::default()
        })
        .await;
    let frame = events(1);
    assert!(instance.process(&frame).await.is_ok());
    let dropped = tokio::time::timeout(
        std::time::Duration::from_millis(30),
        instance.process(&frame),
    )
    .await;
    assert!(dropped.is_err(), "the call went on for ever");
    assert!(!instance.is_live());
    assert!(
        instance.process(&frame).await.is_ok(),
        "a fresh guest is in its first call"
    );
}

#[tokio::test]
async fn codes_of_a_failed_call_tell_unavailable_from_fatal() {
    for (code, unavailable) in [(1, true), (2, false), (9, false)] {
        let mut guest = Guest::new(format!(
            "(i32.store8 (i32.const 64) (i32.const 1)) (i32.store (i32.const 68) (i32.const {code}))
             (i32.store (i32.const 72) (i32.const {FRAME})) (i32.store (i32.const 76) (i32.const 4)) (i32.const 0)"
        ));
        guest.data = b"oops".to_vec();
        // The skeleton returns its own result; here the one at 64 is given instead.
        let text = guest.text().replace(
            "(i32.store8 (i32.const 48) (i32.const 0))\n    (i32.const 48))",
            "(i32.const 64))",
        );
        let plugin = crate::guest::engine()
            .load(&crate::guest::with_component_type(&text))
            .await
            .unwrap();
        let mut instance = instantiate(&plugin, Limits::default()).await.unwrap();
        let frame = events(1);
        let ProcessError::Plugin(failure) = instance.process(&frame).await.unwrap_err() else {
            panic!("the guest's")
        };
        let expected = if unavailable {
            PluginFailure::Unavailable {
                message: "oops".to_owned(),
            }
        } else {
            PluginFailure::Fatal {
                code,
                message: "oops".to_owned(),
            }
        };
        assert_eq!(failure, expected);
        assert!(!instance.is_live());
    }
}

#[tokio::test]
async fn a_refused_config_comes_back_with_its_paths() {
    let guest = Guest::new("(i32.const 1)");
    let issue = "(i32.store (i32.const 96) (i32.const 1024)) (i32.store (i32.const 100) (i32.const 3))
                 (i32.store (i32.const 104) (i32.const 1027)) (i32.store (i32.const 108) (i32.const 4))
                 (i32.store8 (i32.const 80) (i32.const 1)) (i32.store (i32.const 84) (i32.const 96))
                 (i32.store (i32.const 88) (i32.const 1)) (return (i32.const 80))";
    let guest = Guest {
        open: issue,
        ..guest
    };
    let plugin = guest.load().await.unwrap();
    let error = instantiate(&plugin, Limits::default()).await.unwrap_err();
    let InstantiateError::Config { issues } = error else {
        panic!("{error}")
    };
    assert_eq!(
        (
            issues.len(),
            issues[0].path.as_str(),
            issues[0].message.as_str()
        ),
        (1, "{\"n", "ame\"")
    );
}

#[tokio::test]
async fn marks_are_remembered_up_to_the_failure() {
    let guest = Guest::new("(call $mark (i32.const 0)) (call $mark (i32.const 1)) (unreachable)");
    let mut instance = guest.open(Limits::default()).await;
    let frame = events(2);
    assert!(instance.process(&frame).await.is_err());
    assert_eq!(instance.last_mark(), Some(1));
}

#[derive(Default)]
struct Recorder {
    lines: Mutex<Vec<String>>,
    dropped: Mutex<u32>,
}

impl Diagnostics for Recorder {
    fn log(&self, level: LogLevel, message: &str, fields: &[(&str, &str)]) {
        self.lines
            .lock()
            .push(format!("{level} {message} {fields:?}"));
    }

    fn count(&self, metric: &str, delta: u64) {
        self.lines.lock().push(format!("{metric} {delta}"));
    }

    fn gauge(&self, _: &str, _: f64) {}

    fn log_lines_dropped(&self, lines: u32) {
        *self.dropped.lock() += lines;
    }
}

#[tokio::test]
async fn log_lines_and_metrics_arrive_and_are_bounded() {
    let mut guest = Guest::new(format!(
        "(local $n i32)
         (call $log (i32.const 3) (i32.const {FRAME}) (i32.const 5) (i32.const {}) (i32.const 1))
         (call $count (i32.const {FRAME}) (i32.const 5) (i64.const 42))
         (loop $again
           (call $log (i32.const 0) (i32.const {FRAME}) (i32.const 1) (i32.const 0) (i32.const 0))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $n) (i32.const 2000))))
         (i32.const 1)",
        FRAME + 8
    ));
    let mut data = b"hello...".to_vec();
    for number in [FRAME, 4, FRAME + 4, 1] {
        data.extend_from_slice(&number.to_le_bytes());
    }
    guest.data = data;
    let recorder = Arc::new(Recorder::default());
    let plugin = guest.load().await.unwrap();
    let diagnostics = Arc::clone(&recorder) as Arc<dyn Diagnostics>;
    let mut instance = plugin
        .instantiate(&context(), Limits::default(), diagnostics)
        .await
        .unwrap();
    let frame = events(1);
    instance.process(&frame).await.unwrap();
    let lines = recorder.lines.lock();
    assert_eq!(lines[0], r#"warn hello [("hell", "o")]"#);
    assert_eq!(lines[1], "hello 42");
    assert_eq!(lines.len(), 1001);
    assert_eq!(*recorder.dropped.lock(), 1001);
}
