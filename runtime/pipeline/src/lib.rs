//! Manifest, plan, stage tasks, the commit protocol.
