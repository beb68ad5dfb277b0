use millstream_frames::{EffectsWriter, EventsBuilder, EventsFrame, EventsOptions, RunOptions};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::effects::{Effects, OutcomeKind};

fn events() -> EventsFrame {
    let mut builder = EventsBuilder::new(EventsOptions::default());
    builder.run(RunOptions::default());
    for number in 0..4_u64 {
        let header: (&[u8], Option<&[u8]>) = (b"name", Some(b"value"));
        assert!(builder.record(number, 0, false, Some(b"key"), Some(b"value"), [header]));
    }
    builder.finish()
}

#[derive(Debug, Clone)]
enum Step {
    Begin(u32),
    Output {
        target: u16,
        position: u32,
        length: u32,
        in_events: bool,
    },
    Header,
    HeadersOfEvent(u32, u32),
    Fail(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..5_u32).prop_map(Step::Begin),
        (0..3_u16, 0..300_u32, 0..40_u32, any::<bool>()).prop_map(
            |(target, position, length, in_events)| {
                Step::Output {
                    target,
                    position,
                    length,
                    in_events,
                }
            }
        ),
        Just(Step::Header),
        (0..5_u32, 0..5_u32).prop_map(|(first, count)| Step::HeadersOfEvent(first, count)),
        (0..5_u32).prop_map(Step::Fail),
    ]
}

/// Writes the steps as they come, sense or no sense.
fn frame(steps: &[Step]) -> Vec<u8> {
    let mut writer = EffectsWriter::new();
    writer.field(&[b'x'; 100]);
    let mut last = None;
    for step in steps {
        match (step, last) {
            (Step::Begin(event), _) => writer.begin(*event),
            (
                Step::Output {
                    target,
                    position,
                    length,
                    in_events,
                },
                _,
            ) => {
                let (position, length) = (*position, *length);
                let field = match in_events {
                    true => FieldAt::Events { position, length },
                    false => FieldAt::Effects { position, length },
                };
                last = Some(writer.output(*target, FieldAt::Null, field));
            }
            (Step::Header, Some(output)) => writer.add_header(output, b"n", Some(b"v")),
            (Step::HeadersOfEvent(first, count), Some(output)) => {
                writer.set_headers_of_event(output, *first, *count)
            }
            (Step::Fail(event), _) => writer.fail(*event, 3, "no"),
            (Step::Header | Step::HeadersOfEvent(..), None) => {}
        }
    }
    writer.finish().to_vec()
}

/// Reads all that was taken; the bytes that are counted must be at most the limit.
fn walk(effects: &Effects<'_>) -> usize {
    let mut bytes = 0;
    for outcome in effects.outcomes() {
        if let OutcomeKind::Emitted(outputs) = outcome.kind {
            for output in outputs {
                bytes +=
                    40 + output.key.map_or(0, <[u8]>::len) + output.value.map_or(0, <[u8]>::len);
                for (name, value) in output.headers.iter() {
                    bytes += 16 + name.len() + value.map_or(0, <[u8]>::len);
                }
            }
        }
    }
    bytes
}

proptest! {
    #[test]
    fn whatever_is_taken_can_be_read_and_stays_under_the_limit(
        frames in vec(vec(step(), 0..12), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        limit in 0..2000_usize,
    ) {
        let events = events();
        let mut collector = Collector::default();
        collector.begin(&events, 2, limit);
        for steps in &frames {
            let mut frame = frame(steps);
            for (at, byte) in &damage {
                let at = at.index(frame.len());
                frame[at] = *byte;
            }
            if collector.take(&frame).is_err() {
                // The call is lost; what was collected is thrown away unread.
                return Ok(());
            }
        }
        let consumed = events.event_count();
        let effects = Effects::new(events.view(), consumed, collector.finish(), Default::default());
        prop_assert!(walk(&effects) <= limit);
        prop_assert_eq!(effects.outcomes().count(), consumed as usize);
    }
}

#[test]
fn a_failed_event_leaves_no_outputs_behind() {
    let events = events();
    let mut collector = Collector::default();
    collector.begin(&events, 2, 10_000);
    let output = Step::Output {
        target: 0,
        position: 24,
        length: 5,
        in_events: false,
    };
    let steps = [
        Step::Begin(0),
        output.clone(),
        Step::Begin(1),
        output.clone(),
        output.clone(),
        Step::Fail(1),
        Step::Begin(2),
        output,
    ];
    collector.take(&frame(&steps)).unwrap();
    let effects = Effects::new(events.view(), 4, collector.finish(), Default::default());
    let counts: Vec<Option<usize>> = effects
        .outcomes()
        .map(|outcome| match outcome.kind {
            OutcomeKind::Emitted(outputs) => Some(outputs.len()),
            OutcomeKind::Refused { .. } => None,
        })
        .collect();
    assert_eq!(counts, [Some(1), None, Some(1), Some(0)]);
    assert_eq!(effects.output_count(), 2);
}
