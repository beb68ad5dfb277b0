//! The codecs by themselves: round trips, framings that we do not write ourselves, and bombs.

use std::io::Write;

use proptest::prelude::*;

use super::bytes;
use super::golden::unhex;
use crate::DecompressError;
use crate::compression::{Compression, compress, decompress};

const COMPRESSED: [Compression; 4] = [
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Text that compresses, longer than one block of any codec.
fn text(len: usize) -> Vec<u8> {
    (0..)
        .flat_map(|n: u32| format!("{n},flight,{}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
        .take(len)
        .collect()
}

fn linked_lz4(content: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new()
        .block_mode(lz4_flex::frame::BlockMode::Linked)
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_checksums(true)
        .content_checksum(true)
        .content_size(Some(content.len() as u64));
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn streamed_zstd(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn names_and_numbers_are_kafkas() {
    let expected = [
        (0, "none"),
        (1, "gzip"),
        (2, "snappy"),
        (3, "lz4"),
        (4, "zstd"),
    ];
    for (codec, (id, name)) in Compression::ALL.into_iter().zip(expected) {
        assert_eq!(codec.id(), id);
        assert_eq!(codec.to_string(), name);
        assert_eq!(name.parse(), Ok(codec));
        assert_eq!(
            Compression::from_attributes(i16::from(id) | 0x70),
            Ok(codec)
        );
    }
    for unknown in 5..8 {
        assert!(Compression::from_attributes(unknown).is_err());
    }
    assert!("zip".parse::<Compression>().is_err());
}

#[test]
fn content_of_many_blocks_round_trips() {
    let content = text(1_000_000);
    for codec in Compression::ALL {
        let compressed = compress(codec, &content).unwrap();
        assert_eq!(
            decompress(codec, &compressed, content.len()).as_ref(),
            Ok(&content),
            "{codec}"
        );
        let refused = decompress(codec, &compressed, content.len() - 1);
        assert_eq!(
            refused,
            Err(DecompressError::TooLarge {
                codec,
                limit: content.len() - 1
            }),
            "{codec}"
        );
    }
}

#[test]
fn framings_that_other_clients_write_are_read() {
    let content = text(300_000);
    let raw = snap::raw::Encoder::new().compress_vec(&content).unwrap();
    let limit = content.len();
    assert_eq!(
        decompress(Compression::Snappy, &raw, limit).as_ref(),
        Ok(&content)
    );
    assert_eq!(
        decompress(Compression::Lz4, &linked_lz4(&content), limit).as_ref(),
        Ok(&content)
    );
    assert_eq!(
        decompress(Compression::Zstd, &streamed_zstd(&content), limit).as_ref(),
        Ok(&content)
    );
}

#[test]
fn streams_in_a_row_are_read_as_one() {
    let (left, right) = (text(70_000), text(500));
    let whole = [left.clone(), right.clone()].concat();
    for codec in COMPRESSED {
        let stream = [
            compress(codec, &left).unwrap(),
            compress(codec, &right).unwrap(),
        ]
        .concat();
        assert_eq!(
            decompress(codec, &stream, whole.len()).as_ref(),
            Ok(&whole),
            "{codec}"
        );
    }
    // A second linked frame must not see the first one's window.
    let stream = [linked_lz4(&left), linked_lz4(&right)].concat();
    assert_eq!(
        decompress(Compression::Lz4, &stream, whole.len()).as_ref(),
        Ok(&whole)
    );
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let zeros = vec![0; 32 << 20];
    let limit = 1 << 20;
    for codec in COMPRESSED {
        let bomb = compress(codec, &zeros).unwrap();
        assert!(bomb.len() < 2 << 20, "{codec}");
        assert_eq!(
            decompress(codec, &bomb, limit),
            Err(DecompressError::TooLarge { codec, limit })
        );
        assert_eq!(
            decompress(codec, &bomb, zeros.len()).map(|out| out.len()),
            Ok(zeros.len()),
            "{codec}"
        );
    }
    let bomb = streamed_zstd(&zeros);
    assert!(decompress(Compression::Zstd, &bomb, limit).is_err());
    assert_eq!(
        decompress(Compression::Zstd, &bomb, zeros.len()).map(|out| out.len()),
        Ok(zeros.len())
    );
}

#[test]
fn empty_input_is_no_stream() {
    for codec in [Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        assert!(decompress(codec, &[], 100).is_err(), "{codec}");
    }
}

#[test]
fn every_cut_is_an_error() {
    let content = text(2_000);
    let mut streams: Vec<_> = COMPRESSED
        .map(|codec| (codec, compress(codec, &content).unwrap()))
        .into();
    streams.push((Compression::Lz4, linked_lz4(&content)));
    streams.push((Compression::Zstd, streamed_zstd(&content)));
    streams.push((
        Compression::Snappy,
        snap::raw::Encoder::new().compress_vec(&content).unwrap(),
    ));
    for (codec, stream) in streams {
        for len in 1..stream.len() {
            match decompress(codec, &stream[..len], 10_000) {
                Err(_) => {}
                // Xerial has no end mark: a cut between its header and its first block is an empty stream.
                Ok(out) => assert!(
                    codec == Compression::Snappy && len == 16 && out.is_empty(),
                    "{codec} {len}"
                ),
            }
        }
    }
}

#[test]
fn checksums_are_checked() {
    let content = text(2_000);
    let sound = linked_lz4(&content);
    let mut damaged = sound.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(decompress(Compression::Lz4, &damaged, 10_000).is_err());
    let mut damaged = sound;
    damaged[100] ^= 1;
    assert!(decompress(Compression::Lz4, &damaged, 10_000).is_err());
    let mut damaged = streamed_zstd(&content);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(decompress(Compression::Zstd, &damaged, 10_000).is_err());
}

#[test]
fn a_header_that_declares_too_much_is_an_error() {
    // A raw snappy block of 3 bytes that declares 4 GiB - 1.
    assert!(decompress(Compression::Snappy, &unhex("ffffffff0f000000"), usize::MAX).is_err());
    // A xerial block of 2 GiB - 1.
    assert!(
        decompress(
            Compression::Snappy,
            &unhex("82534e41505059000000000100000001 7fffffff 00"),
            usize::MAX
        )
        .is_err()
    );
    // A zstd frame with a window of 2 TiB and 2^62 bytes of content, and one empty block.
    assert!(
        decompress(
            Compression::Zstd,
            &unhex("28b52ffd c0 f8 0000000000000040 010000"),
            usize::MAX
        )
        .is_err()
    );
}

proptest! {
    #[test]
    fn content_round_trips(content in bytes(3_000)) {
        for codec in COMPRESSED {
            let compressed = compress(codec, &content).unwrap();
            let back = decompress(codec, &compressed, content.len());
            prop_assert_eq!(back.as_ref(), Ok(&content));
        }
    }

    #[test]
    fn random_bytes_never_panic(mut noise in proptest::collection::vec(any::<u8>(), 0..600), start in 0..6_usize) {
        // Behind a sound beginning, noise gets further.
        let starts = ["", "82534e41505059000000000100000001", "04224d18604082", "04224d18404007", "28b52ffd", "1f8b0800000000000003"];
        let mut stream = unhex(starts[start]);
        stream.append(&mut noise);
        for codec in COMPRESSED {
            if let Ok(out) = decompress(codec, &stream, 5_000) {
                prop_assert!(out.len() <= 5_000);
            }
        }
    }

    #[test]
    fn flipped_bits_never_panic(content in bytes(2_000), flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8), 1..5)) {
        let mut streams: Vec<_> = COMPRESSED.map(|codec| (codec, compress(codec, &content).unwrap())).into();
        streams.push((Compression::Lz4, linked_lz4(&content)));
        for (codec, mut stream) in streams {
            for (index, bit) in &flips {
                let at = index.index(stream.len());
                stream[at] ^= 1_u8 << bit;
            }
            if let Ok(out) = decompress(codec, &stream, 4_000) {
                prop_assert!(out.len() <= 4_000);
            }
        }
    }
}
