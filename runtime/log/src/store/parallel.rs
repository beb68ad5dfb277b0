//! The same work on many logs, on a few threads.

use std::thread;

use parking_lot::Mutex;

/// Threads at most: opening files of many directories gains nothing from more.
const THREADS_MAX: usize = 8;
/// Fewer items than this are not worth a thread.
const ITEMS_PER_THREAD_MIN: usize = 32;
/// Items that a thread takes at a time.
const TAKEN_AT_ONCE: usize = 8;

/// Does `work` on every item and returns the results, in no particular order; after an error nothing new is begun.
pub(super) fn in_parallel<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores
        .min(THREADS_MAX)
        .min(items.len() / ITEMS_PER_THREAD_MIN);
    if threads < 2 {
        return items.into_iter().map(work).collect();
    }
    let waiting = Mutex::new(items.into_iter());
    let failed = Mutex::new(None);
    let take_part = || {
        let mut done = Vec::new();
        loop {
            let taken: Vec<T> = waiting.lock().by_ref().take(TAKEN_AT_ONCE).collect();
            if taken.is_empty() || failed.lock().is_some() {
                return done;
            }
            for item in taken {
                match work(item) {
                    Ok(result) => done.push(result),
                    Err(error) => {
                        failed.lock().get_or_insert(error);
                        return done;
                    }
                }
            }
        }
    };
    let done = thread::scope(|scope| {
        // A thread that cannot be had is not needed: this one takes part too.
        let others: Vec<_> = (1..threads)
            .filter_map(|_| {
                let builder = thread::Builder::new().name("log-recovery".to_owned());
                builder.spawn_scoped(scope, take_part).ok()
            })
            .collect();
        let mut done = take_part();
        for other in others {
            done.extend(other.join().expect("recovery does not panic"));
        }
        done
    });
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once() {
        for count in [0, 1, 63, 1_000] {
            let mut done = in_parallel((0..count).collect(), |item| Ok::<_, ()>(item * 2)).unwrap();
            done.sort_unstable();
            let expected: Vec<i32> = (0..count).map(|item| item * 2).collect();
            assert_eq!(done, expected);
        }
    }

    #[test]
    fn an_error_is_returned() {
        for count in [10, 1_000] {
            let refused = in_parallel((0..count).collect(), |item| match item {
                7 => Err("no"),
                other => Ok(other),
            });
            assert_eq!(refused, Err("no"));
        }
    }
}
