//! A stage's stores: the committed entries in memory, the open transaction's changes, snapshots.
//! It knows keys, values and tags; not topics, plugins or files.
//! Read `table/mod.rs` first, then `overlay.rs`.

mod overlay;
pub mod snapshot;
mod table;
mod tag;

pub use overlay::{Change, Overlay};
pub use table::{Cursor, Entry, Table};
pub use tag::{ChangelogEnd, Position, Tag};
