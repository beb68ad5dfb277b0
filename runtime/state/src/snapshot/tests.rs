use proptest::prelude::*;

use super::*;
use crate::{ChangelogEnd, Entry, Overlay, Position, Table, Tag};

fn tag(next_offset: i64) -> Tag {
    Tag {
        changelogs: vec![ChangelogEnd {
            topic_id: [7; 16],
            next_offset,
            leader_epoch: 3,
        }],
        positions: vec![Position {
            topic_id: [9; 16],
            partition: 4,
            next_offset: 11,
        }],
        stream_time: Some(-5),
        wall_time: 1_700_000_000_000,
    }
}

fn restore(file: &[u8], stores: usize) -> Result<Restored, BlockError> {
    let mut restoring = Restoring::begin((0..stores).map(|_| Table::new()).collect());
    let mut rest = file;
    while let Some(header) = rest.first_chunk() {
        let len = HEADER_LEN + Block::body_len(header);
        let (block, behind) = rest.split_at_checked(len).ok_or(BlockError::Short)?;
        restoring.block(block)?;
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(BlockError::Short);
    }
    restoring.end()
}

/// A file of two stores, of several blocks, one of them long.
fn file() -> Vec<u8> {
    let mut tables = [Table::new(), Table::new()];
    for n in 0..6_000u32 {
        tables[0].put(&Entry::new(&n.to_be_bytes(), &[n as u8; 30]));
        tables[1].put(&Entry {
            schema: 2,
            expires: Some(i64::from(n)),
            ..Entry::new(&n.to_le_bytes(), b"")
        });
    }
    tables[0].put(&Entry::new(b"long", &[1; 200_000]));
    let mut taking = Taking::begin();
    let mut file = Vec::new();
    while taking.slice(&tables) {
        file.extend(taking.take());
    }
    taking.end(tag(1));
    file.extend(taking.take());
    file
}

#[test]
fn a_snapshot_holds_the_entries_and_the_tag() {
    let restored = restore(&file(), 2).unwrap();
    assert_eq!(restored.tag, tag(1));
    let [first, second] = &restored.tables[..] else {
        panic!("two tables")
    };
    assert_eq!((first.len(), second.len()), (6_001, 6_000));
    assert_eq!(first.get(b"long").unwrap().value, [1; 200_000]);
    let entry = second.get(&77u32.to_le_bytes()).unwrap();
    assert_eq!((entry.schema, entry.expires), (2, Some(77)));
}

#[test]
fn a_snapshot_that_was_cut_or_flipped_anywhere_is_not_used() {
    let file = file();
    // Every byte of the headers and the footer; of the long bodies some.
    let mut at = 0;
    let mut starts = Vec::new();
    while let Some(header) = file[at..].first_chunk() {
        starts.push(at);
        at += HEADER_LEN + Block::body_len(header);
    }
    assert!(starts.len() > 5, "{} blocks", starts.len());
    let near = |at: &usize| starts.iter().any(|start| (*start..start + 40).contains(at));
    let last = *starts.last().unwrap();
    let places: Vec<usize> = (0..file.len())
        .filter(|at| near(at) || *at >= last || at % 4_001 == 0)
        .collect();
    for at in places {
        assert!(restore(&file[..at], 2).is_err(), "cut at {at}");
        let mut flipped = file.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(restore(&flipped, 2).is_err(), "flipped at {at}");
    }
    // Blocks that are whole, but missing, twice there or from another file.
    for pair in starts.windows(2) {
        let (block, rest) = (&file[pair[0]..pair[1]], &file[pair[1]..]);
        let missing = [&file[..pair[0]], rest].concat();
        assert!(
            restore(&missing, 2).is_err(),
            "without block at {}",
            pair[0]
        );
        let twice = [&file[..pair[1]], block, rest].concat();
        assert!(restore(&twice, 2).is_err(), "block at {} twice", pair[0]);
    }
    assert!(restore(&[&file[..], &file[..]].concat(), 2).is_err());
    assert!(restore(&file, 1).is_err(), "a store too few");
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_an_error_not_a_panic(mut body in proptest::collection::vec(any::<u8>(), 0..200), kind in 1..3u8) {
        let mut block = vec![0; HEADER_LEN];
        block[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
        block[12] = kind;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&block[8..]), &body);
        block[4..8].copy_from_slice(&checksum.to_le_bytes());
        block.append(&mut body);
        let mut restoring = Restoring::begin(vec![Table::new(), Table::new()]);
        let _ = restoring.block(&block);
    }

    #[test]
    fn a_footer_is_read_as_it_was_written(
        changes: u64,
        wall_time: i64,
        stream_time: Option<i64>,
        ends in proptest::collection::vec((any::<[u8; 16]>(), any::<i64>(), any::<i32>()), 0..5),
        positions in proptest::collection::vec((any::<[u8; 16]>(), any::<i32>(), any::<i64>()), 0..5),
    ) {
        let footer = Footer {
            changes,
            tag: Tag {
                changelogs: ends.into_iter().map(|(topic_id, next_offset, leader_epoch)| ChangelogEnd {
                    topic_id, next_offset, leader_epoch,
                }).collect(),
                positions: positions.into_iter().map(|(topic_id, partition, next_offset)| Position {
                    topic_id, partition, next_offset,
                }).collect(),
                stream_time,
                wall_time,
            },
        };
        prop_assert_eq!(Footer::decode(&footer.encode()), Ok(footer));
    }

    /// Commits go on while the snapshot is taken; the file has what the last of them left.
    #[test]
    fn a_snapshot_is_exact_at_the_commit_that_ends_it(
        before in proptest::collection::btree_map(0..3_000u32, 0..400usize, 0..3_000),
        commits in proptest::collection::vec(
            (proptest::collection::vec((0..3_000u32, 0..400usize), 0..200), 0..3usize), 1..40),
    ) {
        let mut tables = vec![Table::new()];
        for (key, len) in &before {
            tables[0].put(&Entry::new(&key.to_be_bytes(), &vec![*key as u8; *len]));
        }
        let mut taking = Taking::begin();
        let mut file = Vec::new();
        let mut overlay = Overlay::new(false);
        let mut more = true;
        let mut next_offset = 0;
        for (commit, (changes, slices)) in commits.iter().enumerate() {
            for (key, len) in changes {
                match len % 4 {
                    0 => overlay.remove(&key.to_be_bytes()),
                    _ => overlay.put(&Entry::new(&key.to_be_bytes(), &vec![commit as u8; *len])),
                }
            }
            let mut cursor = crate::Cursor::default();
            while overlay.walk(&mut cursor, |change| change.apply(&mut tables[0])) {}
            taking.committed(0, &overlay);
            overlay.clear();
            next_offset += 1;
            for _ in 0..*slices {
                more = more && taking.slice(&tables);
            }
            file.extend(taking.take());
        }
        while taking.slice(&tables) {}
        taking.end(tag(next_offset));
        file.extend(taking.take());
        let restored = restore(&file, 1).unwrap();
        prop_assert_eq!(restored.tag, tag(next_offset));
        let contents = |table: &Table| {
            let mut entries = std::collections::BTreeMap::new();
            let mut cursor = crate::Cursor::default();
            while table.walk(&mut cursor, |entry| {
                entries.insert(entry.key.to_vec(), entry.value.to_vec());
            }) {}
            entries
        };
        prop_assert_eq!(contents(&restored.tables[0]), contents(&tables[0]));
    }
}
