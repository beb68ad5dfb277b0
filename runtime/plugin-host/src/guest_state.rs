//! What a store carries for its guest: limits, what was emitted, diagnostics.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::collector::Collector;
use crate::diagnostics::{Diagnostics, DiagnosticsState};
use crate::failure::PluginFailure;
use crate::limits::{INSTANCES_MAX, Limits, MEMORIES_MAX, TABLE_ELEMENT_BYTES, TABLES_MAX};
use crate::meter::Meter;

/// Which of the plugin's functions runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No import may be called: a descriptor must not depend on anything.
    Describe,
    /// Diagnostics may be called.
    Open,
    /// Everything may be called.
    Process,
}

pub struct GuestState {
    pub phase: Phase,
    pub limits: Limits,
    pub meter: Arc<Meter>,
    pub memory: MemoryLimiter,
    pub collector: Collector,
    pub diagnostics: Arc<dyn Diagnostics>,
    pub diagnostics_state: DiagnosticsState,
    /// Why a host function refused to go on; it explains the trap that follows.
    pub refusal: Option<PluginFailure>,
}

impl GuestState {
    pub fn new(phase: Phase, limits: Limits, diagnostics: Arc<dyn Diagnostics>) -> Self {
        Self {
            phase,
            limits,
            meter: Arc::new(Meter::default()),
            memory: MemoryLimiter::new(limits.memory_bytes),
            collector: Collector::default(),
            diagnostics,
            diagnostics_state: DiagnosticsState::default(),
            refusal: None,
        }
    }

    /// Forgets what belongs to the call before.
    pub fn begin_call(&mut self, phase: Phase) {
        self.phase = phase;
        self.memory.refused = None;
        self.refusal = None;
        self.diagnostics_state.begin_call();
    }

    /// Remembers why, and gives the error that ends the guest's call.
    pub fn refuse(&mut self, failure: PluginFailure) -> wasmtime::Error {
        let error = wasmtime::Error::msg(failure.to_string());
        self.refusal = Some(failure);
        error
    }

    /// An error while the plugin describes itself: then it must not call imports.
    pub fn check_imports_allowed(&mut self, import: &'static str) -> wasmtime::Result<()> {
        if self.phase != Phase::Describe {
            return Ok(());
        }
        let reason = format!("it calls {import} while it describes itself");
        Err(self.refuse(PluginFailure::Malformed { reason }))
    }
}

/// Sums up all memories and tables of a store, and remembers a refused growth, so that "out of memory" is not
/// reported as the `unreachable` that a guest's allocator turns it into.
#[derive(Debug)]
pub struct MemoryLimiter {
    limit: usize,
    used: usize,
    /// What the last growth added, in case it fails after it was allowed.
    last_growth: usize,
    /// Total that the guest asked for when it was refused.
    pub refused: Option<usize>,
}

impl MemoryLimiter {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            last_growth: 0,
            refused: None,
        }
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let growth = desired.saturating_sub(current);
        let total = self.used.saturating_add(growth);
        if total > self.limit {
            self.refused = Some(total);
            return false;
        }
        self.used = total;
        self.last_growth = growth;
        true
    }

    fn take_back(&mut self) {
        self.used = self.used.saturating_sub(self.last_growth);
        self.last_growth = 0;
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes(current), bytes(desired)))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
