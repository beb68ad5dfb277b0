use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::layout::*;
use crate::*;

type OwnedHeaders = Vec<(Vec<u8>, Option<Vec<u8>>)>;

#[derive(Debug, Clone)]
struct OwnedRecord {
    offset: u64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: OwnedHeaders,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn headers() -> impl Strategy<Value = OwnedHeaders> {
    vec((bytes(), option::of(bytes())), 0..4)
}

fn record() -> impl Strategy<Value = OwnedRecord> {
    (
        any::<u64>(),
        any::<i64>(),
        option::of(bytes()),
        option::of(bytes()),
        headers(),
    )
        .prop_map(|(offset, timestamp, key, value, headers)| OwnedRecord {
            offset,
            timestamp,
            key,
            value,
            headers,
        })
}

fn events_frame(runs: &[(RunOptions, Vec<OwnedRecord>)], options: EventsOptions) -> EventsFrame {
    let mut builder = EventsBuilder::new(options);
    for (run, records) in runs {
        builder.run(*run);
        for record in records {
            let headers = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_slice(), value.as_deref()));
            assert!(builder.record(
                record.offset,
                record.timestamp,
                false,
                record.key.as_deref(),
                record.value.as_deref(),
                headers
            ));
        }
    }
    builder.finish()
}

fn read_everything(frame: &[u8]) -> Result<(), FrameError> {
    let view = EventsView::parse(frame)?;
    for index in 0..view.run_count() {
        view.run(index)?;
    }
    for index in 0..view.event_count() {
        let event = view.event(index)?;
        for header in event.headers.iter() {
            header?;
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn events_are_read_as_they_were_written(
        runs in vec((any::<(u16, i32, i32, u64)>(), vec(record(), 0..8)), 0..4),
        mark in any::<bool>(),
        stream_time in any::<i64>(),
        wall_time in option::of(any::<i64>()),
        seed_base in any::<u64>(),
    ) {
        let runs: Vec<_> = runs.into_iter().map(|((input, partition, leader_epoch, seed), records)| {
            (RunOptions { input, partition, leader_epoch, seed }, records)
        }).collect();
        let options = EventsOptions { mark, stream_time, wall_time, seed_base };
        let frame = events_frame(&runs, options);
        let view = EventsView::parse(frame.bytes()).unwrap();
        prop_assert_eq!(view.mark(), mark);
        prop_assert_eq!(view.stream_time(), stream_time);
        prop_assert_eq!(view.wall_time(), wall_time);
        prop_assert_eq!(view.seed_base(), seed_base);
        prop_assert_eq!(view.run_count() as usize, runs.len());
        let mut number = 0;
        for (index, (expected, records)) in runs.iter().enumerate() {
            let run = view.run(index as u32).unwrap();
            prop_assert_eq!((run.input, run.partition, run.leader_epoch, run.seed),
                (expected.input, expected.partition, expected.leader_epoch, expected.seed));
            prop_assert_eq!((run.first_event, run.count as usize), (number, records.len()));
            for record in records {
                let event = view.event(number).unwrap();
                prop_assert_eq!(event.kind, EventKind::Record);
                prop_assert_eq!(event.run as usize, index);
                prop_assert_eq!((event.offset, event.timestamp), (record.offset, record.timestamp));
                prop_assert_eq!(event.key, record.key.as_deref());
                prop_assert_eq!(event.value, record.value.as_deref());
                let headers: OwnedHeaders = event.headers.iter()
                    .map(|header| header.map(|h| (h.name.to_vec(), h.value.map(<[u8]>::to_vec))).unwrap()).collect();
                prop_assert_eq!(&headers, &record.headers);
                number += 1;
            }
        }
        prop_assert_eq!(view.event_count(), number);
        prop_assert!(view.event(number).is_err());
    }

    #[test]
    fn a_damaged_events_frame_is_an_error_or_other_events_but_never_a_panic(
        records in vec(record(), 1..6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let mut frame = events_frame(&[(RunOptions::default(), records)], EventsOptions::default()).bytes().to_vec();
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        let _ = read_everything(&frame);
    }

    #[test]
    fn arbitrary_bytes_behind_a_sound_magic_never_panic(mut frame in vec(any::<u8>(), 0..300)) {
        let _ = read_everything(&frame);
        for magic in [EVENTS_MAGIC, EFFECTS_MAGIC] {
            if frame.len() > 2 {
                frame[..2].copy_from_slice(&magic);
                frame[2] = FRAME_VERSION;
            }
            let _ = read_everything(&frame);
            let _ = read_effects(&frame, EventsExtent { frame_size: 100, events: 3, headers: 2 });
        }
    }

    #[test]
    fn effects_are_read_as_they_were_written(
        outputs in vec((any::<u16>(), option::of(bytes()), option::of(bytes()), headers(),
            option::of(0..i64::MAX), option::of(0..i32::MAX)), 0..8),
        message in ".{0,20}",
        code in any::<u32>(),
    ) {
        let mut writer = EffectsWriter::new();
        writer.begin(0);
        for (target, key, value, headers, timestamp, partition) in &outputs {
            let key = key.as_ref().map_or(FieldAt::Null, |bytes| writer.field(bytes));
            let value = value.as_ref().map_or(FieldAt::Null, |bytes| writer.field(bytes));
            let output = writer.output(*target, key, value);
            if let Some(timestamp) = timestamp { writer.set_timestamp(output, *timestamp); }
            if let Some(partition) = partition { writer.set_partition(output, *partition); }
            for (name, value) in headers { writer.add_header(output, name, value.as_deref()); }
        }
        writer.begin(1);
        writer.fail(1, code, &message);
        let frame = writer.finish().to_vec();
        let reader = EffectsReader::parse(&frame, EventsExtent { frame_size: 0, events: 2, headers: 0 }).unwrap();
        let read = |field: FieldAt| match field {
            FieldAt::Null => None,
            FieldAt::Effects { position, length } => Some(frame[position as usize..][..length as usize].to_vec()),
            FieldAt::Events { .. } => panic!("nothing was forwarded"),
        };
        prop_assert_eq!(reader.effect_count() as usize, outputs.len() + 3);
        prop_assert_eq!(reader.effect(0).unwrap(), Effect::Begin { event: 0 });
        for (index, expected) in outputs.iter().enumerate() {
            let Effect::Output { target, partition, timestamp, key, value, headers } =
                reader.effect(index as u32 + 1).unwrap() else { panic!("an output") };
            prop_assert_eq!(target, expected.0);
            prop_assert_eq!(read(key), expected.1.clone());
            prop_assert_eq!(read(value), expected.2.clone());
            let HeadersAt::Effects { first, count } = headers else { panic!("own headers") };
            let headers: OwnedHeaders = (first..first + count).map(|row| {
                let (name, value) = reader.header(row).unwrap();
                (read(name).unwrap(), read(value))
            }).collect();
            prop_assert_eq!(&headers, &expected.3);
            prop_assert_eq!(timestamp, expected.4);
            prop_assert_eq!(partition, expected.5);
        }
        let last = reader.effect(outputs.len() as u32 + 2).unwrap();
        prop_assert_eq!(last, Effect::Fail { event: 1, code, message: &message });
    }

    #[test]
    fn a_damaged_effects_frame_never_panics(
        values in vec(bytes(), 1..6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut writer = EffectsWriter::new();
        writer.begin(0);
        for value in &values {
            let value = writer.field(value);
            let output = writer.output(0, FieldAt::Events { position: 3, length: 4 }, value);
            writer.add_header(output, b"name", None);
        }
        let mut frame = writer.finish().to_vec();
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let _ = read_effects(&frame, EventsExtent { frame_size: 100, events: 3, headers: 2 });
    }
}

/// Reads all rows; what is accepted must lie inside its frame.
fn read_effects(frame: &[u8], extent: EventsExtent) -> Result<(), FrameError> {
    let reader = EffectsReader::parse(frame, extent)?;
    let inside = |field: FieldAt| match field {
        FieldAt::Null => true,
        FieldAt::Effects { position, length } => position as usize + length as usize <= frame.len(),
        FieldAt::Events { position, length } => {
            position as usize + length as usize <= extent.frame_size
        }
    };
    for index in 0..reader.header_count() {
        let (name, value) = reader.header(index)?;
        assert!(inside(name) && inside(value));
    }
    for index in 0..reader.effect_count() {
        match reader.effect(index)? {
            Effect::Output {
                key,
                value,
                headers,
                ..
            } => {
                assert!(inside(key) && inside(value));
                match headers {
                    HeadersAt::Effects { first, count } => {
                        assert!(first + count <= reader.header_count())
                    }
                    HeadersAt::Events { first, count } => assert!(first + count <= extent.headers),
                }
            }
            Effect::Begin { event } | Effect::Fail { event, .. } => assert!(event < extent.events),
        }
    }
    Ok(())
}

#[test]
fn rows_may_be_larger_than_this_version_knows() {
    let frame = events_frame(
        &[(
            RunOptions::default(),
            vec![OwnedRecord {
                offset: 7,
                timestamp: 1,
                key: None,
                value: Some(b"v".to_vec()),
                headers: vec![],
            }],
        )],
        EventsOptions::default(),
    );
    let mut grown = frame.bytes().to_vec();
    let events_at = u32::from_le_bytes(grown[20..24].try_into().unwrap()) as usize;
    let row = grown[events_at..events_at + EVENT_ROW_SIZE].to_vec();
    let new_at = grown.len() as u32;
    grown.extend_from_slice(&row);
    grown.extend_from_slice(&[0xee; 8]);
    grown[20..24].copy_from_slice(&new_at.to_le_bytes());
    grown[30..32].copy_from_slice(&(EVENT_ROW_SIZE as u16 + 8).to_le_bytes());
    let view = EventsView::parse(&grown).unwrap();
    assert_eq!(view.event(0).unwrap().offset, 7);
}

#[test]
fn a_newer_version_and_a_smaller_row_are_refused() {
    let frame = events_frame(&[(RunOptions::default(), vec![])], EventsOptions::default());
    let mut newer = frame.bytes().to_vec();
    newer[2] = FRAME_VERSION + 1;
    assert_eq!(
        EventsView::parse(&newer).unwrap_err(),
        FrameError::UnknownVersion {
            found: FRAME_VERSION + 1,
            newest: FRAME_VERSION
        }
    );
    let mut smaller = frame.bytes().to_vec();
    smaller[28..30].copy_from_slice(&8_u16.to_le_bytes());
    assert_eq!(
        EventsView::parse(&smaller).unwrap_err(),
        FrameError::RowTooSmall {
            table: "run",
            found: 8,
            least: RUN_ROW_SIZE
        }
    );
}

#[test]
fn kinds_that_are_not_offered_yet_are_malformed() {
    let mut writer = EffectsWriter::new();
    writer.begin(0);
    for kind in 3..=8 {
        let mut frame = {
            writer.clear();
            writer.begin(0);
            writer.finish().to_vec()
        };
        let row = u32::from_le_bytes(frame[12..16].try_into().unwrap()) as usize;
        frame[row] = kind;
        let extent = EventsExtent {
            frame_size: 0,
            events: 1,
            headers: 0,
        };
        let reader = EffectsReader::parse(&frame, extent).unwrap();
        assert_eq!(
            reader.effect(0),
            Err(FrameError::UnknownKind {
                table: "effect",
                row: 0,
                kind
            })
        );
    }
}

#[test]
fn a_seed_depends_on_every_part_and_on_nothing_else() {
    let seed = |pipeline, stage, topic, partition, offset| {
        seed::event_seed(
            seed::stage_seed(pipeline, stage),
            seed::run_seed(topic, partition),
            offset,
        )
    };
    let one = seed("p", "s", "t", 0, 1);
    assert_eq!(one, seed("p", "s", "t", 0, 1));
    // The number itself is part of the contract: replays of old offsets must draw the same again.
    assert_eq!(one, 6_993_576_603_917_607_757);
    for other in [
        seed("q", "s", "t", 0, 1),
        seed("p", "q", "t", 0, 1),
        seed("p", "s", "q", 0, 1),
        seed("p", "s", "t", 1, 1),
        seed("p", "s", "t", 0, 2),
    ] {
        assert_ne!(one, other);
    }
    assert_ne!(
        seed::hash_parts(&[b"ab", b"c"]),
        seed::hash_parts(&[b"a", b"bc"])
    );
}

#[test]
fn an_error_names_its_facts() {
    let errors = [
        (
            FrameError::WrongMagic {
                found: [1, 0x4d],
                expected: EFFECTS_MAGIC,
            },
            format!("the frame begins with [01, 4d] instead of {EFFECTS_MAGIC:02x?}"),
        ),
        (
            FrameError::FieldOutOfBounds {
                table: "event",
                row: 3,
                field: "key",
                position: 70,
                length: -2,
                frame: 64,
            },
            "key of event row 3 (-2 bytes at 70) reaches past the frame's end at 64".to_owned(),
        ),
        (
            FrameError::UnknownFlags {
                table: "effect",
                row: 0,
                flags: 8,
            },
            "effect row 0 has flags 0x08, which this version does not know".to_owned(),
        ),
    ];
    for (error, message) in errors {
        assert_eq!(error.to_string(), message);
    }
}
