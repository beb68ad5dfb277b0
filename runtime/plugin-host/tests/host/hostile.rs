//! Hostile guests: each is stopped with the right reason, and the host goes on.

use std::time::{Duration, Instant};

use millstream_plugin_host::frames::{EffectsWriter, EventsFrame, FieldAt};
use millstream_plugin_host::{InstantiateError, Limits, PluginFailure, ProcessError};

use crate::guest::{FRAME, Guest, events, instantiate};

async fn failure(guest: &Guest, limits: Limits, frame: &EventsFrame) -> PluginFailure {
    let mut instance = guest.open(limits).await;
    match instance.process(frame).await {
        Err(ProcessError::Plugin(failure)) => failure,
        Err(ProcessError::Host(failure)) => panic!("the host was blamed: {failure}"),
        Ok(processed) => panic!("it went well: {processed:?}"),
    }
}

#[tokio::test]
async fn a_trap_is_reported_with_its_reason_and_place() {
    let failure = failure(&Guest::new("(unreachable)"), Limits::default(), &events(1)).await;
    let PluginFailure::Trap {
        reason,
        panic,
        backtrace,
    } = failure
    else {
        panic!("{failure}")
    };
    assert!(reason.contains("unreachable"), "{reason}");
    assert_eq!(panic, None);
    assert!(backtrace[0].contains("process"), "{backtrace:?}");
}

#[tokio::test]
async fn bottomless_recursion_ends_the_call_only() {
    let guest = Guest {
        fields: "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))".to_owned(),
        ..Guest::new("(call $deep (i32.const 1))")
    };
    let failure = failure(&guest, Limits::default(), &events(1)).await;
    assert!(
        matches!(&failure, PluginFailure::Trap { reason, .. } if reason.contains("stack")),
        "{failure}"
    );
}

#[tokio::test]
async fn an_endless_loop_is_stopped_by_its_own_cpu_time() {
    let limits = Limits {
        call_cpu: Duration::from_millis(60),
        ..Limits::default()
    };
    let failure = failure(
        &Guest::new("(loop $again (br $again)) (i32.const 1)"),
        limits,
        &events(1),
    )
    .await;
    let PluginFailure::CpuLimit { used, limit } = failure else {
        panic!("{failure}")
    };
    assert_eq!(limit, limits.call_cpu);
    assert!(used > limit);
}

#[tokio::test]
async fn time_that_others_use_is_not_counted() {
    let guest = Guest::new(
        "(local $n i64)
         (loop $again
           (local.set $n (i64.add (local.get $n) (i64.const 1)))
           (br_if $again (i64.lt_u (local.get $n) (i64.const 100000000))))
         (i32.const 1)",
    );
    let limits = Limits {
        call_cpu: Duration::from_secs(60),
        ..Limits::default()
    };
    let mut instance = guest.open(limits).await;
    let frame = events(1);
    instance.process(&frame).await.unwrap();
    let alone = instance.last_call_cpu();
    // One thread runs both: at the guest's yields, a hog holds the thread for many times what the guest needs.
    let hold = alone * 2 + Duration::from_millis(100);
    let hog = async {
        for _ in 0..4 {
            let began = Instant::now();
            while began.elapsed() < hold {}
            tokio::task::yield_now().await;
        }
    };
    let (outcome, ()) = tokio::join!(instance.process(&frame), hog);
    outcome.unwrap();
    let beside_a_hog = instance.last_call_cpu();
    assert!(
        beside_a_hog < hold,
        "{alone:?} alone, {beside_a_hog:?} beside a hog"
    );
}

#[tokio::test]
async fn a_running_guest_lets_others_run() {
    let limits = Limits {
        call_cpu: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut endless = Guest::new("(loop $again (br $again)) (i32.const 1)")
        .open(limits)
        .await;
    let mut honest = Guest::new("(i32.const 1)").open(Limits::default()).await;
    let frame = events(1);
    let others = async {
        let mut calls = 0;
        loop {
            honest.process(&frame).await.unwrap();
            calls += 1;
            tokio::task::yield_now().await;
            if calls == 10 {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        _ = endless.process(&frame) => panic!("ten short calls of another guest took longer than the endless one"),
        () = others => {}
    }
}

const GROW: &str = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";

#[tokio::test]
async fn a_memory_bomb_is_called_what_it_is() {
    let limits = Limits {
        memory_bytes: 8 << 20,
        ..Limits::default()
    };
    let failure = failure(&Guest::new(GROW), limits, &events(1)).await;
    let PluginFailure::MemoryLimit { asked, limit } = failure else {
        panic!("{failure}")
    };
    assert_eq!(limit, 8 << 20);
    assert!(asked > limit && asked <= limit + (16 << 16));
}

#[tokio::test]
async fn several_memories_and_tables_count_together() {
    let limits = Limits {
        memory_bytes: 1 << 20,
        ..Limits::default()
    };
    let guest = Guest {
        fields: "(memory $second 6) (table $table 1 funcref)".to_owned(),
        ..Guest::new(
            "(if (i32.eq (memory.grow $second (i32.const 4)) (i32.const -1)) (then (unreachable)))
             (if (i32.eq (table.grow $table (ref.null func) (i32.const 30000)) (i32.const -1)) (then (unreachable)))
             (i32.const 1)",
        )
    };
    let failure = failure(&guest, limits, &events(1)).await;
    // 4 + 6 + 4 pages fit in 16; 30,000 elements of 16 bytes are 8 pages more.
    assert!(
        matches!(failure, PluginFailure::MemoryLimit { asked, .. } if asked > 1 << 20),
        "{failure}"
    );
}

#[tokio::test]
async fn a_guest_that_needs_too_much_to_begin_with_cannot_be_opened() {
    let plugin = Guest {
        memory_pages: 32,
        ..Guest::new("(i32.const 1)")
    }
    .load()
    .await
    .unwrap();
    let error = instantiate(
        &plugin,
        Limits {
            memory_bytes: 1 << 20,
            ..Limits::default()
        },
    )
    .await
    .unwrap_err();
    assert!(
        matches!(
            error,
            InstantiateError::Plugin(PluginFailure::MemoryLimit { .. })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn garbage_for_effects_is_malformed() {
    for garbage in [
        &b""[..],
        b"MF",
        b"garbage garbage garbage garbage",
        &[0xff; 64],
    ] {
        let failure = failure(&Guest::emitting(garbage, 1), Limits::default(), &events(1)).await;
        assert!(
            matches!(failure, PluginFailure::Malformed { .. }),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn effects_that_make_no_sense_are_malformed() {
    let frame_of = |write: fn(&mut EffectsWriter)| {
        let mut writer = EffectsWriter::new();
        write(&mut writer);
        writer.finish().to_vec()
    };
    let cases = [
        (
            "an output of no event",
            frame_of(|w| {
                w.output(0, FieldAt::Null, FieldAt::Null);
            }),
        ),
        ("an event that does not exist", frame_of(|w| w.begin(2))),
        (
            "events in the wrong order",
            frame_of(|w| (w.begin(1), w.begin(0)).1),
        ),
        ("an event twice", frame_of(|w| (w.begin(0), w.begin(0)).1)),
        (
            "an output that does not exist",
            frame_of(|w| (w.begin(0), w.output(2, FieldAt::Null, FieldAt::Null)).0),
        ),
        (
            "a failure of another event",
            frame_of(|w| (w.begin(0), w.fail(1, 0, "")).1),
        ),
        (
            "an output after the failure",
            frame_of(|w| {
                w.begin(0);
                w.fail(0, 0, "");
                w.output(0, FieldAt::Null, FieldAt::Null);
            }),
        ),
        (
            "a field past the events frame",
            frame_of(|w| {
                w.begin(0);
                w.output(
                    0,
                    FieldAt::Null,
                    FieldAt::Events {
                        position: 0,
                        length: 1 << 20,
                    },
                );
            }),
        ),
        (
            "headers past the events frame",
            frame_of(|w| {
                w.begin(0);
                let output = w.output(0, FieldAt::Null, FieldAt::Null);
                w.set_headers_of_event(output, 1, 2);
            }),
        ),
        (
            "a negative timestamp",
            frame_of(|w| {
                w.begin(0);
                let output = w.output(0, FieldAt::Null, FieldAt::Null);
                w.set_timestamp(output, -5);
            }),
        ),
        (
            "effects of an event that was not consumed",
            frame_of(|w| w.begin(1)),
        ),
    ];
    for (what, frame) in cases {
        let failure = failure(&Guest::emitting(&frame, 1), Limits::default(), &events(2)).await;
        assert!(
            matches!(failure, PluginFailure::Malformed { .. }),
            "{what}: {failure}"
        );
    }
}

#[tokio::test]
async fn what_was_consumed_must_be_possible() {
    for consumed in ["0", "3", "-1"] {
        let guest = Guest::new(format!("(i32.const {consumed})"));
        let failure = failure(&guest, Limits::default(), &events(2)).await;
        assert!(
            matches!(failure, PluginFailure::Malformed { .. }),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn a_small_frame_cannot_stand_for_a_flood_of_output() {
    let mut writer = EffectsWriter::new();
    let FieldAt::Effects { position, .. } = writer.field(&[b'x'; 1024]) else {
        panic!("own bytes")
    };
    writer.begin(0);
    for _ in 0..100 {
        // All name the same bytes.
        writer.output(
            0,
            FieldAt::Null,
            FieldAt::Effects {
                position,
                length: 1024,
            },
        );
    }
    let frame = writer.finish().to_vec();
    let limits = Limits {
        output_bytes_max: 64 * 1024,
        ..Limits::default()
    };
    let failure = failure(&Guest::emitting(&frame, 1), limits, &events(1)).await;
    assert_eq!(failure, PluginFailure::OutputLimit { limit: 64 * 1024 });
}

#[tokio::test]
async fn headers_that_are_named_again_and_again_count_each_time() {
    let mut writer = EffectsWriter::new();
    writer.begin(0);
    for _ in 0..3000 {
        let output = writer.output(0, FieldAt::Null, FieldAt::Null);
        writer.set_headers_of_event(output, 0, 100);
    }
    let frame = writer.finish().to_vec();
    let limits = Limits {
        output_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let failure = failure(
        &Guest {
            memory_pages: 8,
            ..Guest::emitting(&frame, 1)
        },
        limits,
        &events(100),
    )
    .await;
    assert_eq!(failure, PluginFailure::OutputLimit { limit: 1 << 20 });
}

#[tokio::test]
async fn an_endless_stream_of_frames_reaches_the_output_limit() {
    let mut writer = EffectsWriter::new();
    let value = writer.field(&[b'x'; 1000]);
    writer.output(0, FieldAt::Null, value);
    let frame = writer.finish().to_vec();
    writer.clear();
    writer.begin(0);
    let begin = writer.finish().to_vec();
    let mut guest = Guest::new(format!(
        "(call $emit (i32.const {}) (i32.const {}))
         (loop $again (call $emit (i32.const {FRAME}) (i32.const {})) (br $again)) (i32.const 1)",
        FRAME as usize + frame.len(),
        begin.len(),
        frame.len()
    ));
    guest.data = [frame, begin].concat();
    let limits = Limits {
        output_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let failure = failure(&guest, limits, &events(1)).await;
    assert_eq!(failure, PluginFailure::OutputLimit { limit: 1 << 20 });
}

#[tokio::test]
async fn pointers_outside_of_memory_are_the_guests_fault() {
    for (at, length) in [("-8", "16"), ("0", "-1"), ("1000000000", "1")] {
        let guest = Guest::new(format!(
            "(call $emit (i32.const {at}) (i32.const {length})) (i32.const 1)"
        ));
        let failure = failure(&guest, Limits::default(), &events(1)).await;
        assert!(matches!(failure, PluginFailure::Trap { .. }), "{failure}");
    }
    // A message that is not UTF-8.
    let mut guest = Guest::new(format!(
        "(call $log (i32.const 1) (i32.const {FRAME}) (i32.const 2) (i32.const 0) (i32.const 0)) (i32.const 1)"
    ));
    guest.data = vec![0xff, 0xfe];
    let failure = failure(&guest, Limits::default(), &events(1)).await;
    assert!(matches!(failure, PluginFailure::Trap { .. }), "{failure}");
}

#[tokio::test]
async fn emitting_while_it_opens_is_refused() {
    let guest = Guest {
        open: "(call $emit (i32.const 0) (i32.const 0))",
        ..Guest::new("(i32.const 1)")
    };
    let plugin = guest.load().await.unwrap();
    let error = instantiate(&plugin, Limits::default()).await.unwrap_err();
    assert!(
        matches!(
            error,
            InstantiateError::Plugin(PluginFailure::Malformed { .. })
        ),
        "{error}"
    );
}
