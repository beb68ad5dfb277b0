//! The plugin's exports with their types, and the records that cross with them. The derives generate unsafe impls.
#![allow(unsafe_code)]

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, Func, Instance, Lift, TypedFunc,
};
use wasmtime::{Store, StoreContextMut};

use crate::failure::LoadError;
use crate::guest_state::GuestState;
use crate::world::PROCESSOR;

/// `types.error`.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub struct GuestError {
    pub code: u32,
    pub message: String,
}

/// `types.config-issue`.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub struct GuestConfigIssue {
    pub path: String,
    pub message: String,
}

pub type Describe = TypedFunc<(), (String,)>;
pub type Open<'a> = TypedFunc<(&'a str,), (Result<(), Vec<GuestConfigIssue>>,)>;
pub type Process<'a> = TypedFunc<(&'a [u8],), (Result<u32, GuestError>,)>;

/// Where a component has the processor's functions.
#[derive(Debug, Clone, Copy)]
pub struct ProcessorExports {
    describe: ComponentExportIndex,
    open: ComponentExportIndex,
    process: ComponentExportIndex,
}

impl ProcessorExports {
    /// Finds them in a component that exports the interface.
    pub fn find(component: &Component) -> Result<Self, LoadError> {
        let missing = |missing: String| LoadError::MissingExport { missing };
        let interface = component
            .get_export_index(None, PROCESSOR)
            .ok_or_else(|| missing(format!("the interface {PROCESSOR}")))?;
        let function = |name: &str| {
            component
                .get_export_index(Some(&interface), name)
                .ok_or_else(|| missing(format!("the function {name} of {PROCESSOR}")))
        };
        Ok(Self {
            describe: function("describe")?,
            open: function("open")?,
            process: function("process")?,
        })
    }

    /// The functions of an instance, their signatures checked.
    pub fn of(
        &self,
        instance: &Instance,
        store: &mut Store<GuestState>,
    ) -> Result<Processor, LoadError> {
        let wrong = |function| {
            move |error: wasmtime::Error| LoadError::WrongSignature {
                function,
                reason: format!("{error:#}"),
            }
        };
        let function =
            |store: &mut Store<GuestState>, index: &ComponentExportIndex, name: &'static str| {
                instance
                    .get_func(store, index)
                    .ok_or_else(|| LoadError::MissingExport {
                        missing: name.to_owned(),
                    })
            };
        let describe = function(store, &self.describe, "describe")?;
        let open = function(store, &self.open, "open")?;
        let process = function(store, &self.process, "process")?;
        describe
            .typed::<(), (String,)>(&*store)
            .map_err(wrong("describe"))?;
        open.typed::<(&str,), (Result<(), Vec<GuestConfigIssue>>,)>(&*store)
            .map_err(wrong("open"))?;
        process
            .typed::<(&[u8],), (Result<u32, GuestError>,)>(&*store)
            .map_err(wrong("process"))?;
        Ok(Processor {
            describe,
            open,
            process,
        })
    }
}

/// The functions of one instance. Their types were checked; `typed` checks again at each use, which costs nothing
/// beside a call and needs no unsafe code.
#[derive(Debug, Clone, Copy)]
pub struct Processor {
    describe: Func,
    open: Func,
    process: Func,
}

impl Processor {
    pub fn describe(&self, store: &StoreContextMut<'_, GuestState>) -> wasmtime::Result<Describe> {
        self.describe.typed(store)
    }

    pub fn open<'a>(&self, store: &StoreContextMut<'_, GuestState>) -> wasmtime::Result<Open<'a>> {
        self.open.typed(store)
    }

    pub fn process<'a>(
        &self,
        store: &StoreContextMut<'_, GuestState>,
    ) -> wasmtime::Result<Process<'a>> {
        self.process.typed(store)
    }
}
