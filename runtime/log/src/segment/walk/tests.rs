//! What a walk makes of bytes that are not what they were.

use std::path::Path;

use millstream_records::{BatchBuilder, BatchOptions, patch};

use super::*;
use crate::fs::{FileSystem, OpenMode};
use crate::testing::{Random, SimFs};

/// A batch with one value at each of `count` offsets.
fn batch(base_offset: i64, count: usize, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset,
        ..BatchOptions::default()
    });
    for _ in 0..count {
        builder.append(1, None, Some(value), []).unwrap();
    }
    let mut batch = builder.build().unwrap();
    patch::set_leader_epoch(&mut batch, 3);
    batch
}

fn file(bytes: &[u8]) -> Arc<dyn File> {
    let fs = SimFs::new(1);
    let file = fs.open(Path::new("/segment"), OpenMode::Create).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

const EPOCHS: &[EpochStart] = &[EpochStart {
    epoch: 3,
    start_offset: 0,
}];

/// All pieces of these bytes.
fn pieces(bytes: &[u8], upper: i64, anchors: &[Anchor]) -> Vec<Piece> {
    let around = Surroundings {
        lower: 0,
        upper,
        epochs: EPOCHS,
    };
    let mut walk = Walk::new(file(bytes), 0, bytes.len() as u64, around, anchors);
    let mut pieces = Vec::new();
    while let Some(piece) = walk.next().unwrap() {
        pieces.push(piece);
        assert!(pieces.len() < 10_000, "a walk comes to its end");
    }
    pieces
}

fn offsets(pieces: &[Piece]) -> Vec<i64> {
    let base = |piece: &Piece| match piece {
        Piece::Batch(batch) => Some(batch.header.base_offset),
        Piece::Damage(_) => None,
    };
    pieces.iter().filter_map(base).collect()
}

#[test]
fn of_batches_with_gaps_between_them_a_flipped_bit_costs_one_or_two() {
    // As compaction leaves them: some offsets are gone.
    let bases = [0, 7, 8, 40, 41, 90];
    let all: Vec<_> = bases.iter().map(|base| batch(*base, 2, b"value")).collect();
    let mut starts = Vec::new();
    let mut bytes = Vec::new();
    for (base, one) in bases.iter().zip(&all) {
        starts.push((bytes.len(), *base));
        bytes.extend_from_slice(one);
        // The second record went.
        patch::set_base_offset(&mut bytes[starts.last().unwrap().0..], *base);
    }
    let fits: Vec<i64> = vec![0, 7, 40, 90];
    // Batches that overlap their neighbour cannot both be there.
    assert!(offsets(&pieces(&bytes, 100, &[])).len() < bases.len());
    let sound: Vec<u8> = fits
        .iter()
        .flat_map(|base| batch(*base, 2, b"value"))
        .collect();
    assert_eq!(offsets(&pieces(&sound, 100, &[])), fits);
    let size = sound.len() / fits.len();
    for at in 0..sound.len() {
        for bit in 0..8 {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << bit;
            let found = pieces(&bytes, 100, &[]);
            let hit = at / size;
            let left: Vec<i64> = fits
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != hit)
                .map(|(_, base)| *base)
                .collect();
            let is_base_offset = at % size < 8;
            if is_base_offset {
                // Within a gap an offset that lies cannot be told; one that contradicts its neighbours can.
                assert!(
                    offsets(&found).len() >= fits.len() - 2,
                    "byte {at}, bit {bit}"
                );
            } else {
                assert_eq!(offsets(&found), left, "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_batch_within_a_value_is_not_taken_for_one_of_the_log() {
    let inner: Vec<u8> = (1..4)
        .flat_map(|base| batch(base, 1, b"not of this log"))
        .collect();
    let mut bytes = batch(0, 1, b"first");
    let damaged = bytes.len();
    bytes.extend(batch(1, 1, &inner));
    let behind = bytes.len() as u64;
    bytes.extend(batch(2, 1, b"second"));
    bytes.extend(batch(3, 1, b"third"));
    // The length is not right any more, so the search begins within the value.
    bytes[damaged + 10] ^= 0x40;
    let found = pieces(&bytes, 4, &[]);
    assert_eq!(offsets(&found), [0, 2, 3]);
    let Piece::Damage(region) = &found[1] else {
        panic!("{found:?}");
    };
    assert_eq!((region.position, region.end), (damaged as u64, behind));
    assert_eq!((region.first_offset, region.next_offset), (1, 2));
}

#[test]
fn an_index_leads_out_of_damage_between_two_damages() {
    let mut bytes = Vec::new();
    let mut anchors = Vec::new();
    for base in 0..10 {
        anchors.push(Anchor {
            position: bytes.len() as u64,
            last_offset: base,
        });
        bytes.extend(batch(base, 1, b"value"));
    }
    let size = bytes.len() / 10;
    // Both lengths are wrong; between them nothing leads to the end.
    bytes[2 * size + 9] ^= 0xff;
    bytes[7 * size + 9] ^= 0xff;
    assert_eq!(offsets(&pieces(&bytes, 10, &[])), [0, 1, 8, 9]);
    assert_eq!(
        offsets(&pieces(&bytes, 10, &anchors)),
        [0, 1, 3, 4, 5, 6, 8, 9]
    );
}

#[test]
fn any_bytes_end_in_pieces_that_cover_them() {
    let mut random = Random::new(7);
    for round in 0..300 {
        let mut bytes = Vec::new();
        let mut base = 0;
        for _ in 0..random.below(8) {
            match random.below(4) {
                0 => bytes.extend((0..random.below(200)).map(|_| random.next_u64() as u8)),
                1 => bytes.extend(std::iter::repeat_n(0, random.below(200) as usize)),
                _ => {
                    bytes.extend(batch(base, 1, b"some value"));
                    base += 1;
                }
            }
        }
        if !bytes.is_empty() && random.below(2) == 0 {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next_u64() as u8;
        }
        let mut end = 0;
        let mut next = 0;
        for piece in pieces(&bytes, i64::MAX, &[]) {
            let (begins, ends) = match piece {
                Piece::Batch(batch) => {
                    assert!(batch.header.base_offset >= next, "round {round}");
                    next = batch.header.next_offset();
                    let size = batch.header.size_in_bytes() as u64;
                    (batch.position, batch.position + size)
                }
                Piece::Damage(region) => (region.position, region.end),
            };
            assert_eq!(begins, end, "round {round}");
            assert!(ends > begins, "round {round}");
            end = ends;
        }
        assert_eq!(end, bytes.len() as u64, "round {round}");
    }
}

#[test]
fn bytes_that_all_look_like_headers_cost_no_square() {
    // Each header claims the whole rest: without a bound, every one of them would be summed up.
    let mut bytes = Vec::new();
    let len = 4 << 20;
    while bytes.len() < len {
        let mut header = batch(0, 1, b"")[..HEADER_LEN].to_vec();
        let rest = (len - bytes.len()).max(HEADER_LEN) as i32 - 12;
        header[8..12].copy_from_slice(&rest.to_be_bytes());
        bytes.extend(header);
    }
    bytes.truncate(len);
    let found = pieces(&bytes, i64::MAX, &[]);
    assert_eq!(offsets(&found), []);
    assert_eq!(found.len(), 1, "one region to the end");
}
