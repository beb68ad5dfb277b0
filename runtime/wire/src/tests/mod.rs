//! Tests of all messages together.

mod hostile;
mod oracle;
mod structure;
