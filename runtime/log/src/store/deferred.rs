//! Files of segments that have left their logs, until it is time to remove them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::failpoint;
use crate::segment::{OpenFiles, Segment};

/// Segments whose files wait under their `.deleted` names. What is still there at the next start is removed then.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    waiting: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    segment: Arc<Segment>,
    /// Of its [`crate::segment::Suffix::Deleted`].
    number: u32,
    /// By the clock's monotonic time.
    due: Duration,
}

impl Deferred {
    pub(crate) fn add(&self, segment: Arc<Segment>, number: u32, due: Duration) {
        self.waiting.lock().push(Waiting {
            segment,
            number,
            due,
        });
    }

    /// A number that no waiting segment of the same name has.
    pub(crate) fn next_number(&self, segment: &Segment) -> u32 {
        let waiting = self.waiting.lock();
        let same = waiting.iter().filter(|one| {
            one.segment.base_offset() == segment.base_offset() && one.segment.dir() == segment.dir()
        });
        same.map(|one| one.number + 1).max().unwrap_or(0)
    }

    /// Removes the files of all segments whose time has come and that nobody holds any more.
    pub(crate) fn remove_due(&self, now: Duration, files: &OpenFiles) {
        let due: Vec<Waiting> = {
            let mut waiting = self.waiting.lock();
            // Only who holds a segment that has left its log can give it to others, so the last holder stays it.
            let is_due = |one: &mut Waiting| one.due <= now && Arc::strong_count(&one.segment) == 1;
            waiting.extract_if(.., is_due).collect()
        };
        for one in due {
            failpoint::hit("segments.before_delete");
            if let Err(error) = one.segment.remove(files) {
                tracing::warn!(path = %one.segment.path().display(), %error, "a deleted segment is removed later");
                self.waiting.lock().push(one);
            }
        }
    }

    /// Forgets the segments of a directory that is removed as a whole.
    pub(crate) fn forget(&self, dir: &Path) {
        self.waiting.lock().retain(|one| one.segment.dir() != dir);
    }
}
