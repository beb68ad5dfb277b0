//! Both frames, drawn once. All numbers are little-endian; a *position* counts bytes from the frame's first byte;
//! a *length* of −1 is null, other negative lengths are malformed. Tables may stand anywhere in the frame and in any
//! order, and a reader steps through them by the row size that the header states, so that rows can grow at their end.
//!
//! **Events frame** (host → plugin)
//!
//! ```text
//! header, 64 bytes
//!    0  u16  magic "ME"                       28  u16  size of a run row
//!    2  u8   version                          30  u16  size of an event row
//!    3  u8   flags: 1 MARK, 2 WALL-TIME       32  u16  size of a header row
//!    4  u32  runs                             34  u16  0
//!    8  u32  events                           36  u32  0
//!   12  u32  headers                          40  i64  stream time, ms
//!   16  u32  where the run table begins       48  i64  wall time, ms (0 without WALL-TIME)
//!   20  u32  where the event table begins     56  u64  seed base: a hash of pipeline and stage
//!   24  u32  where the header table begins
//! run row, 32 bytes                         event row, 48 bytes
//!    0  u16  input                             0  u8   kind: 0 RECORD, 1 TIMER, 2 STREAM-TIME, 3 END
//!    2  u16  0                                 1  u8   flags: 1 = the timestamp is the log append time
//!    4  i32  partition                         2  u16  0
//!    8  i32  leader epoch                      4  u32  run
//!   12  u32  first event                       8  u64  offset
//!   16  u32  count of events                  16  i64  timestamp, ms
//!   20  u32  0                                24  u32  key position      28  i32  key length
//!   24  u64  seed: a hash of topic, partition 32  u32  value position    36  i32  value length
//! header row, 16 bytes                        40  u32  first header      44  i32  count of headers
//!    0  u32  name position   4  i32  name length (never −1)
//!    8  u32  value position 12  i32  value length
//! ```
//!
//! **Effects frame** (plugin → host)
//!
//! ```text
//! header, 24 bytes
//!    0  u16  magic "MF"                       12  u32  where the effect table begins
//!    2  u8   version                          16  u32  where the header table begins
//!    3  u8   0                                20  u16  size of an effect row
//!    4  u32  effects                          22  u16  size of a header row
//!    8  u32  headers
//! effect row, 40 bytes
//!    0  u8   kind: 0 BEGIN, 1 OUTPUT, 2 FAIL; 3 PUT, 4 DELETE, 5 DELETE-RANGE, 6 TIMER, 7 CANCEL are reserved
//!    1  u8   flags: 1 the key, 2 the value, 4 the headers stand in the call's events frame instead of this one
//!    2  u16  target (OUTPUT: index of the output)
//!    4  i32  OUTPUT: partition, −1 = by key      BEGIN, FAIL: index of the event
//!    8  i64  OUTPUT: timestamp, ms; the smallest i64 = the event's      FAIL: code
//!   16  u32  key position      20  i32  key length
//!   24  u32  value position    28  i32  value length (FAIL: the message, UTF-8)
//!   32  u32  first header      36  i32  count of headers
//! header row: as above
//! ```
//!
//! `BEGIN i` opens event i; events are opened in ascending order, and what follows belongs to the open one, across
//! frames of the same call too. `FAIL i` undoes everything since `BEGIN i` and closes it. An event that was consumed
//! and never opened has no effects.

/// The frame version that this crate writes, and the newest that it reads.
pub const FRAME_VERSION: u8 = 1;

/// First two bytes of an events frame.
pub const EVENTS_MAGIC: [u8; 2] = *b"ME";
/// First two bytes of an effects frame.
pub const EFFECTS_MAGIC: [u8; 2] = *b"MF";

/// Size of the events frame's header, in bytes.
pub const EVENTS_HEADER_SIZE: usize = 64;
/// Size of a run row, in bytes.
pub const RUN_ROW_SIZE: usize = 32;
/// Size of an event row, in bytes.
pub const EVENT_ROW_SIZE: usize = 48;
/// Size of a header row of either frame, in bytes.
pub const HEADER_ROW_SIZE: usize = 16;
/// Size of the effects frame's header, in bytes.
pub const EFFECTS_HEADER_SIZE: usize = 24;
/// Size of an effect row, in bytes.
pub const EFFECT_ROW_SIZE: usize = 40;

/// Events flag: the plugin must call `diagnostics.mark` before it works on each event.
pub const FLAG_MARK: u8 = 1;
/// Events flag: the header's wall time is set.
pub const FLAG_WALL_TIME: u8 = 2;

/// Event flag: the timestamp is the log append time.
pub const EVENT_FLAG_LOG_APPEND_TIME: u8 = 1;

/// Effect kinds; the numbers never change.
pub const KIND_BEGIN: u8 = 0;
pub const KIND_OUTPUT: u8 = 1;
pub const KIND_FAIL: u8 = 2;

/// Effect flags: the field stands in the events frame of this call.
pub const KEY_IN_EVENTS: u8 = 1;
pub const VALUE_IN_EVENTS: u8 = 2;
pub const HEADERS_IN_EVENTS: u8 = 4;

/// Timestamp of an output that takes the event's own.
pub const TIMESTAMP_OF_EVENT: i64 = i64::MIN;
/// Partition of an output that the host chooses, by the key.
pub const PARTITION_BY_KEY: i32 = -1;

/// Code of a record that the plugin refuses for what it contains.
pub const CODE_REJECTED: u32 = 0;
/// Code of a refusal that may pass when tried again: something outside was not available.
pub const CODE_UNAVAILABLE: u32 = 1;
/// Code of a failure after which the stage must stop.
pub const CODE_FATAL: u32 = 2;
