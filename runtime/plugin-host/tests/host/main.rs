//! Guests in `.wat` text against the real host: honest ones, hostile ones, and files that are no plugins at all.

mod artifact_cache;
mod guest;
mod hostile;
mod load;
mod process;
