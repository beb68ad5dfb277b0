//! The calling thread's CPU time: `std` has no such clock, so this is one system call by hand.
#![allow(unsafe_code)]

/// Nanoseconds of CPU that the calling thread has used since it started.
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid, writable timespec for the length of the call, and the clock id is a constant that
    // every Linux kernel knows; the call touches nothing else.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "the thread's CPU clock is always there");
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}
