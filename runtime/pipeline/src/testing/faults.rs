//! Where the engine in memory fails, and how.

/// A call of the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    EnsureTopic,
    Topic,
    Acquire,
    Committed,
    Input,
    Read,
    Bounds,
    Begin,
    Append,
    Offsets,
    Commit,
    Abort,
}

/// What happens instead of (or after) the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// NotLeader; nothing is done.
    NotLeader,
    /// Unknown; nothing is done.
    UnknownNotDone,
    /// It is done, but the answer is Unknown.
    UnknownDone,
    /// The offsets wait for a transaction; nothing is done.
    Unstable,
    /// The disk is full; nothing is done.
    Full,
    /// The process dies before the call: neither this nor any later call of its handles returns or
    /// does anything.
    CrashBefore,
    /// The process dies when it is done.
    CrashAfter,
    /// The answer comes later; what else happens meanwhile happens.
    Delay,
}

/// Decides about each call: which it is (counted from 0 over all calls), and what it is about.
pub type Plan = Box<dyn FnMut(u64, Step) -> Option<Fault> + Send>;
