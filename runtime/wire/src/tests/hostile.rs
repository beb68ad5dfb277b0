//! Bytes that nobody should send: they decode to an error or to a message, never to a panic or to
//! an allocation that the bytes do not justify.

use std::cell::Cell;

use bytes::{BufMut, Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::codec::random::{Random, RandomMessage};
use crate::coordinator_records as records;
use crate::{DecodeError, Message, RequestHeader};

/// Counts what each thread allocates, so that tests can bound it.
#[allow(unsafe_code)] // A global allocator cannot be written without.
mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};

    use super::Cell;

    thread_local! {
        pub static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    }

    struct Counting;

    // SAFETY: every call is passed on unchanged to the system's allocator.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let _ = ALLOCATED.try_with(|sum| sum.set(sum.get().saturating_add(layout.size())));
            // SAFETY: the caller keeps the contract of `alloc`.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: the caller keeps the contract of `dealloc`.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;
}

/// Bytes of memory that a decode may take per byte received: an element of an array takes three
/// bytes at least and its struct 200 at most, and a growing vector copies itself.
const AMPLIFICATION_MAX: usize = 300;

/// Room for the first 1,024 elements of one array.
const ALLOWANCE: usize = 256 * 1024;

/// Decodes and checks what it cost.
fn decode_bounded<M: Message>(bytes: &Bytes, version: i16) -> Result<M, DecodeError> {
    let before = counting::ALLOCATED.get();
    let result = M::decode(&mut bytes.clone(), version);
    let taken = counting::ALLOCATED.get() - before;
    let allowed = ALLOWANCE + AMPLIFICATION_MAX * bytes.len();
    assert!(
        taken <= allowed,
        "{taken} bytes taken for {} received",
        bytes.len()
    );
    result
}

/// Tries one message in every version.
fn attack<M: Message + RandomMessage>() {
    for version in M::VALID_VERSIONS {
        truncate_everywhere::<M>(version);
        flip_bytes::<M>(version);
        feed_noise::<M>(version);
        claim_huge_counts::<M>(version);
    }
}

/// A message that ends early is an error at every length.
fn truncate_everywhere<M: Message + RandomMessage>(version: i16) {
    for seed in 0..8 {
        let mut buf = BytesMut::new();
        let message = M::random(&mut Random::new(seed), version);
        message.encode(&mut buf, version).expect("encodes");
        let bytes = buf.freeze();
        for length in 0..bytes.len() {
            let result = decode_bounded::<M>(&bytes.slice(..length), version);
            assert!(result.is_err(), "{length} of {} bytes", bytes.len());
        }
        assert!(decode_bounded::<M>(&bytes, version).is_ok());
    }
}

/// A sound message with a few wrong bytes.
fn flip_bytes<M: Message + RandomMessage>(version: i16) {
    let mut rng = StdRng::seed_from_u64(version as u64);
    for seed in 0..60 {
        let mut buf = BytesMut::new();
        let message = M::random(&mut Random::new(seed), version);
        message.encode(&mut buf, version).expect("encodes");
        for _ in 0..rng.random_range(1..4) {
            if !buf.is_empty() {
                let at = rng.random_range(0..buf.len());
                buf[at] = [0, 0x7f, 0x80, 0xff, rng.random()][rng.random_range(0..5)];
            }
        }
        let _ = decode_bounded::<M>(&buf.freeze(), version);
    }
}

fn feed_noise<M: Message>(version: i16) {
    let mut rng = StdRng::seed_from_u64(1000 + version as u64);
    for _ in 0..200 {
        let length = rng.random_range(0..200);
        let bytes: Bytes = (0..length).map(|_| rng.random::<u8>()).collect();
        let _ = decode_bounded::<M>(&bytes, version);
    }
}

/// The largest counts and lengths at every place of a sound message.
fn claim_huge_counts<M: Message + RandomMessage>(version: i16) {
    let mut buf = BytesMut::new();
    let message = M::random(&mut Random::new(2), version);
    message.encode(&mut buf, version).expect("encodes");
    let claims: [&[u8]; 4] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x80, 0, 0, 0],
        &[0x7f, 0xff],
    ];
    for at in 0..buf.len() {
        for claim in claims {
            let mut bytes = BytesMut::from(&buf[..at]);
            bytes.put_slice(claim);
            bytes.put_slice(&buf[at..]);
            let _ = decode_bounded::<M>(&bytes.freeze(), version);
        }
    }
}

macro_rules! attack_apis {
    ($($module:ident $request:ident $response:ident;)*) => {
        [$({
            attack::<crate::$module::$request>();
            attack::<crate::$module::$response>();
            <crate::$module::$request as crate::Request>::API
        },)*]
    };
}

#[test]
fn no_bytes_make_any_message_panic_or_take_much_memory() {
    let attacked = super::every_api!(attack_apis);
    assert_eq!(attacked, crate::ApiKey::ALL);
}

#[test]
fn no_bytes_make_a_coordinator_record_panic_or_take_much_memory() {
    attack::<records::TransactionLogKey>();
    attack::<records::TransactionLogValue>();
    attack::<records::OffsetCommitKey>();
    attack::<records::OffsetCommitValue>();
    attack::<records::GroupMetadataKey>();
    attack::<records::GroupMetadataValue>();
    attack::<records::ConsumerProtocolSubscription>();
    attack::<records::ConsumerProtocolAssignment>();
}

#[test]
fn a_count_beyond_the_bytes_is_refused_before_anything_is_allocated() {
    // The five bytes that make a careless decoder ask for 3.9 GB.
    let body = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 1]);
    let before = counting::ALLOCATED.get();
    let result = crate::metadata::MetadataRequest::decode(&mut body.clone(), 1);
    assert_eq!(counting::ALLOCATED.get(), before);
    assert_eq!(
        result,
        Err(DecodeError::CountTooLarge {
            field: "MetadataRequest.topics",
            count: 0x7fff_ffff,
            remaining: 1,
        })
    );
}

#[test]
fn a_believable_count_starts_with_a_bounded_capacity() {
    // A million claimed topics in a million bytes, of which the first is malformed.
    let mut body = BytesMut::new();
    body.put_i32(1_000_000);
    body.put_i16(-7);
    body.resize(1_000_010, 0);
    let body = body.freeze();
    let before = counting::ALLOCATED.get();
    let result = crate::metadata::MetadataRequest::decode(&mut body.clone(), 1);
    assert!(matches!(
        result,
        Err(DecodeError::InvalidLength { length: -7, .. })
    ));
    assert!(counting::ALLOCATED.get() - before <= ALLOWANCE);
}

#[test]
fn a_compact_string_is_no_longer_than_an_ordinary_one() {
    // Lengths are one more, seven bits a byte.
    let longest: (&[u8], usize) = (&[0x80, 0x80, 0x02], 32_767);
    let too_long: (&[u8], usize) = (&[0x81, 0x80, 0x02], 32_768);
    let decode = |(prefix, length): (&[u8], usize)| {
        let mut body = BytesMut::from(prefix);
        body.resize(prefix.len() + length, b'x');
        // Generation, member id, instance id, tags.
        body.put_slice(&[0, 0, 0, 1, 1, 0, 0]);
        crate::heartbeat::HeartbeatRequest::decode(&mut body.freeze(), 4)
    };
    assert_eq!(decode(longest).unwrap().group_id.len(), 32_767);
    assert_eq!(
        decode(too_long),
        Err(DecodeError::InvalidLength {
            field: "HeartbeatRequest.group_id",
            length: 32_768,
        })
    );
}

#[test]
fn no_bytes_make_a_header_panic() {
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..20_000 {
        let length = rng.random_range(0..40);
        let mut bytes: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        if bytes.len() > 3 {
            bytes[0] = 0;
            bytes[1] %= 45;
            bytes[2] = 0;
            bytes[3] %= 16;
        }
        let _ = RequestHeader::decode(&mut bytes.into());
    }
}
