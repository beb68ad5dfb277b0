//! What malformed and hostile batches make us allocate: a small multiple of what was received, whatever they declare.

// Counting allocations needs a global allocator, and that trait is unsafe to implement.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use millstream_records::compression::{compress, decompress};
use millstream_records::{BatchBuilder, BatchOptions, BatchView, Compression, HEADER_LEN, batches};

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    let live = LIVE.get() + change;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call goes unchanged to the system's allocator; the counters are plain thread-local cells without
// destructors, so counting never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that were live at once while `work` ran, beyond what was live before.
fn peak(work: impl FnOnce()) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    work();
    (PEAK.get() - before).unsigned_abs()
}

/// A codec's working state, whatever the input: zstd's block, deflate's window and tables.
const STATE: usize = 256 * 1024;
/// The most that a block of a few bytes may reserve before it is seen to be false (lz4: 255 for each byte).
const EXPANSION: usize = 256;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b' ')
        .map(|byte| (byte as char).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] * 16 + pair[1])
        .collect()
}

#[test]
fn the_counter_counts() {
    assert!(peak(|| drop(std::hint::black_box(vec![1_u8; 1 << 20]))) >= 1 << 20);
    assert_eq!(peak(|| {}), 0);
}

#[test]
fn declared_sizes_are_not_believed() {
    let hostile = [
        (Compression::Snappy, "ffffffff0f 000000"),
        (
            Compression::Snappy,
            "82534e41505059000000000100000001 7fffffff 00",
        ),
        (
            Compression::Snappy,
            "82534e41505059000000000100000001 00000006 ffffffff0f00",
        ),
        // Blocks of 4 MiB; content of 2^63 bytes.
        (
            Compression::Lz4,
            "04224d18 6070 73 10000000 1f410100ffffffffffffffffffffffff",
        ),
        (
            Compression::Lz4,
            "04224d18 6870 0000000000000080 00 10000000",
        ),
        // A window of 128 MiB; content of 2^62 bytes; a stream cut behind its header.
        (Compression::Zstd, "28b52ffd 0088 010000"),
        (Compression::Zstd, "28b52ffd c088 0000000000000040 010000"),
        (Compression::Zstd, "28b52ffd 0088 0c0000 0d0000 00"),
        (Compression::Gzip, "1f8b0804 00000000 0003 ffff"),
        (Compression::Gzip, "1f8b0800 00000000 0003 edc1"),
    ];
    for (codec, text) in hostile {
        let bytes = unhex(text);
        let used = peak(|| {
            assert!(
                decompress(codec, &bytes, usize::MAX).map_or(true, |out| out.len() < 64),
                "{text}"
            )
        });
        assert!(
            used <= STATE + bytes.len() * EXPANSION,
            "{codec} {text}: {used}"
        );
    }
}

#[test]
fn blocks_that_promise_much_reserve_little() {
    // 10,000 zstd blocks that claim to be compressed, 128 KiB each if they were sound.
    let mut bytes = unhex("28b52ffd 0088");
    for _ in 0..10_000 {
        bytes.extend(unhex("140000 ffff"));
    }
    bytes.extend(unhex("010000"));
    let used = peak(|| assert!(decompress(Compression::Zstd, &bytes, usize::MAX).is_err()));
    assert!(used <= STATE + bytes.len() * EXPANSION, "{used}");
}

#[test]
fn a_bomb_takes_no_more_than_the_limit_allows() {
    let limit = 1 << 20;
    let zeros = vec![0; 16 << 20];
    for codec in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let bomb = compress(codec, &zeros).unwrap();
        let used = peak(|| assert!(decompress(codec, &bomb, limit).is_err()));
        // A growing vector is copied into one of twice the size.
        assert!(used <= 3 * limit + STATE, "{codec}: {used}");
    }
}

#[test]
fn damaged_batches_take_little() {
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: codec,
            ..BatchOptions::default()
        });
        for n in 0..100_i64 {
            let value = format!("value {n} of a hundred");
            builder
                .append(
                    n,
                    Some(b"key"),
                    Some(value.as_bytes()),
                    [(&b"name"[..], None)],
                )
                .unwrap();
        }
        let sound = builder.build().unwrap();
        let allowed = STATE + sound.len() * EXPANSION;
        for at in 0..sound.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = sound.clone();
                damaged[at] ^= flip;
                let used = peak(|| {
                    for view in batches(&damaged).flatten() {
                        let _ = view
                            .records(usize::MAX)
                            .map(|records| records.iter().count());
                    }
                });
                assert!(used <= allowed, "{codec} byte {at} ^ {flip}: {used}");
            }
        }
    }
}

#[test]
fn reading_uncompressed_records_allocates_nothing() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for n in 0..1_000 {
        builder.append(n, None, Some(&[7; 100]), []).unwrap();
    }
    let batch = builder.build().unwrap();
    let used = peak(|| {
        let view = BatchView::parse(&batch).unwrap();
        view.validate_produced(0).unwrap();
        assert_eq!(view.records(0).unwrap().iter().count(), 1_000);
        assert_eq!(view.body().len(), batch.len() - HEADER_LEN);
    });
    assert_eq!(used, 0);
}
