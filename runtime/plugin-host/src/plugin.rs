//! A loaded plugin: compiled, checked against the contract, described.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::InstancePre;

use crate::bindings::ProcessorExports;
use crate::context::OpenContext;
use crate::descriptor::Descriptor;
use crate::diagnostics::{Diagnostics, Silent};
use crate::engine::Engine;
use crate::failure::{InstantiateError, LoadError};
use crate::guest_state::{GuestState, Phase};
use crate::instance::{Instance, Live};
use crate::limits::Limits;

/// SHA-256 of the file that was loaded.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    hex: Arc<str>,
}

impl Digest {
    pub(crate) fn new(sha256: [u8; 32]) -> Self {
        let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { hex: hex.into() }
    }

    /// 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A plugin, ready to be instantiated. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) shared: Arc<PluginShared>,
}

pub(crate) struct PluginShared {
    pub engine: Engine,
    pub pre: InstancePre<GuestState>,
    pub exports: ProcessorExports,
    digest: Digest,
    descriptor: Descriptor,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.shared.descriptor.name)
            .field("digest", &self.shared.digest)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Asks the component to describe itself.
    pub(crate) async fn describe(
        engine: Engine,
        digest: Digest,
        pre: InstancePre<GuestState>,
        exports: ProcessorExports,
    ) -> Result<Self, LoadError> {
        let state = GuestState::new(Phase::Describe, Limits::of_describe(), Arc::new(Silent));
        let mut live = Live::create(&engine, &pre, &exports, state).await?;
        let text = live.describe(&engine).await?;
        let descriptor = Descriptor::parse(&text)?;
        Ok(Self {
            shared: Arc::new(PluginShared {
                engine,
                pre,
                exports,
                digest,
                descriptor,
            }),
        })
    }

    /// What the plugin says about itself.
    pub fn descriptor(&self) -> &Descriptor {
        &self.shared.descriptor
    }

    /// Digest of the file that was loaded.
    pub fn digest(&self) -> &Digest {
        &self.shared.digest
    }

    /// Makes an instance and opens it with `context`.
    pub async fn instantiate(
        &self,
        context: &OpenContext,
        limits: Limits,
        diagnostics: Arc<dyn Diagnostics>,
    ) -> Result<Instance, InstantiateError> {
        Instance::open(self.clone(), context, limits, diagnostics).await
    }
}
