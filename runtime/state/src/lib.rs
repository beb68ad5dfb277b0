//! A stage's stores: the committed entries in memory, the open transaction's changes, snapshots.
//! It knows keys, values and tags; not topics, plugins or files.
//! Read `store.rs` first, then `table/mod.rs`.

mod overlay;
pub mod snapshot;
mod store;
mod table;
mod tag;

pub use overlay::{Change, Overlay};
pub use store::Store;
pub use table::{Cursor, Entry, Table};
pub use tag::{ChangelogEnd, Position, Tag};
