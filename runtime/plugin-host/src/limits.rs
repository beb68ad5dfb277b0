//! Every bound on what a guest may do, in one place, each with the abuse that it stops.

/// A module larger than this is not loaded: compiling takes time and memory in proportion.
pub const MODULE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A descriptor larger than this is refused, so that `describe` cannot fill the host's memory.
pub const DESCRIPTOR_BYTES_MAX: usize = 1024 * 1024;
/// A log message or panic message is cut here, so that a plugin cannot fill the log with one line.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// The message of a refused record is cut here: it travels in a header of the dead letter.
pub const REFUSAL_BYTES_MAX: usize = 4 * 1024;
/// Fields of a log line beyond this many are dropped.
pub const LOG_FIELDS_MAX: usize = 32;
/// The name or value of a log field, and the name of a metric, is cut here.
pub const FIELD_BYTES_MAX: usize = 1024;
/// Log lines of one call beyond this many are counted and dropped.
pub const LOG_LINES_PER_CALL_MAX: u32 = 1000;
/// An instance may name this many different metrics; each becomes a time series, more are dropped.
pub const METRICS_MAX: usize = 256;
/// Frames of a backtrace that are kept.
pub const BACKTRACE_FRAMES_MAX: usize = 32;
/// Core instances, memories and tables of one component; each costs the host memory of its own.
pub const INSTANCES_MAX: usize = 64;
pub const MEMORIES_MAX: usize = 16;
pub const TABLES_MAX: usize = 64;
/// Host memory of one table element, counted with the linear memories.
pub const TABLE_ELEMENT_BYTES: usize = 16;
/// Threads of the process that compiles; each takes address space, which is limited.
pub const COMPILE_THREADS_MAX: usize = 4;
/// What that process says is cut here, so that a module cannot fill the host's memory with its names.
pub const COMPILE_WORDS_BYTES_MAX: u64 = 16 * 1024;
/// Stack of the guest; deeper recursion traps.
pub const GUEST_STACK_BYTES: usize = 512 * 1024;
/// Stack of the fiber that a guest runs on; host functions run there too.
pub const FIBER_STACK_BYTES: usize = 1024 * 1024;
/// Time between two ticks of the epoch: a running guest yields to other stages this often, and its CPU limit is
/// enforced with this precision.
pub const TICK_MS: u64 = 5;

/// What one instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sum of all linear memories and tables, in bytes.
    pub memory_bytes: usize,
    /// The guest's own CPU time in one call, not wall time: a paused machine costs nothing.
    pub call_cpu: std::time::Duration,
    /// Sum of keys, values and headers (and 40 bytes for each output) emitted in one call.
    pub output_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 * 1024 * 1024,
            call_cpu: std::time::Duration::from_secs(1),
            output_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// While a plugin describes itself it may use this much; JavaScript and Python guests start slowly.
    pub(crate) fn of_describe() -> Self {
        Self {
            memory_bytes: 256 * 1024 * 1024,
            call_cpu: std::time::Duration::from_secs(5),
            output_bytes_max: 0,
        }
    }
}

/// Cuts `text` to at most `max` bytes, at a character's boundary.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
