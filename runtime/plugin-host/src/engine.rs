//! The engine: wasmtime with the contract's settings, the host capabilities, the ticker and the artifact cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, WasmBacktraceDetails};

use crate::artifact::ArtifactCache;
use crate::bindings::ProcessorExports;
use crate::compiler::ChildCompiler;
use crate::componentize::{check_size, componentize};
use crate::failure::{HostFailure, LoadError};
use crate::guest_state::GuestState;
use crate::limits::{BACKTRACE_FRAMES_MAX, FIBER_STACK_BYTES, GUEST_STACK_BYTES};
use crate::plugin::{Digest, Plugin};
use crate::ticker::Ticker;
use crate::{collector, diagnostics, world};

/// Settings of the engine.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Where compiled plugins are kept; made with mode 0700. `None`: every load compiles, in this process.
    pub cache_dir: Option<PathBuf>,
    /// The program that compiles into `cache_dir`, under limits. `None`: this process compiles, without limits, which is
    /// for tools and tests that run modules of their own.
    pub compiler: Option<ChildCompiler>,
}

/// Why an engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("cannot keep compiled plugins in {path}: {source}")]
    CacheDir {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot start the plugin engine: {reason}")]
    Wasmtime { reason: String },
}

/// Loads plugins. Cheap to clone; one for a process.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<EngineShared>,
}

pub(crate) struct EngineShared {
    pub wasmtime: wasmtime::Engine,
    pub linker: Linker<GuestState>,
    pub ticker: Ticker,
    cache: Option<ArtifactCache>,
    compiler: Option<ChildCompiler>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("cache", &self.shared.cache)
            .finish_non_exhaustive()
    }
}

/// The settings of the contract's section "Determinism", and what else keeps a guest inside its bounds. Threads,
/// garbage collection, exceptions and component async are not even compiled into our wasmtime.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .shared_memory(false)
        .wasm_memory64(false)
        .wasm_stack_switching(false)
        .concurrency_support(false)
        .gc_support(false)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .generate_address_map(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    config
}

impl Engine {
    /// Starts the engine and its ticker thread.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let wasmtime_error = |error: wasmtime::Error| EngineError::Wasmtime {
            reason: format!("{error:#}"),
        };
        let wasmtime = wasmtime::Engine::new(&config()).map_err(wasmtime_error)?;
        let linker = linker(&wasmtime).map_err(wasmtime_error)?;
        let ticker = Ticker::start(wasmtime.clone()).map_err(|error| EngineError::Wasmtime {
            reason: format!("no thread for the ticker: {error}"),
        })?;
        let cache = options
            .cache_dir
            .map(|path| {
                ArtifactCache::open(&path, &wasmtime)
                    .map_err(|source| EngineError::CacheDir { path, source })
            })
            .transpose()?;
        Ok(Self {
            shared: Arc::new(EngineShared {
                wasmtime,
                linker,
                ticker,
                cache,
                compiler: options.compiler,
            }),
        })
    }

    /// Loads a plugin from a file.
    pub async fn load_file(&self, path: &Path) -> Result<Plugin, LoadError> {
        let read = |source| LoadError::Read {
            path: path.to_owned(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(read)?;
        check_size(metadata.len())?;
        let bytes = std::fs::read(path).map_err(read)?;
        self.load(&bytes).await
    }

    /// Loads a plugin: a component of the contract's world, or a core module that carries its component type.
    /// Compiling a module that is not in the cache takes 10 ms to seconds, in the process that [`EngineOptions`] name,
    /// else on tokio's blocking threads when there is a runtime; a cached one takes a few ms.
    pub async fn load(&self, wasm: &[u8]) -> Result<Plugin, LoadError> {
        check_size(wasm.len() as u64)?;
        let digest = Digest::new(Sha256::digest(wasm).into());
        let component = match self.cached(&digest) {
            Some(component) => component,
            None => self.compile(wasm.to_vec(), digest.clone()).await?,
        };
        world::check_component(&component)?;
        let exports = ProcessorExports::find(&component)?;
        let pre = self.shared.linker.instantiate_pre(&component);
        let pre = pre.map_err(|error| LoadError::Invalid {
            reason: format!("{error:#}"),
        })?;
        Plugin::describe(self.clone(), digest, pre, exports).await
    }

    fn cached(&self, digest: &Digest) -> Option<Component> {
        self.shared
            .cache
            .as_ref()?
            .get(&self.shared.wasmtime, digest.hex())
    }

    async fn compile(&self, wasm: Vec<u8>, digest: Digest) -> Result<Component, LoadError> {
        let engine = self.clone();
        let work = move || engine.compile_now(&wasm, &digest);
        match tokio::runtime::Handle::try_current() {
            Err(_) => work(),
            Ok(runtime) => match runtime.spawn_blocking(work).await {
                Ok(outcome) => outcome,
                Err(error) => Err(LoadError::Host(HostFailure {
                    doing: "compiling a plugin",
                    reason: error.to_string(),
                })),
            },
        }
    }

    fn compile_now(&self, wasm: &[u8], digest: &Digest) -> Result<Component, LoadError> {
        if let (Some(compiler), Some(cache)) = (&self.shared.compiler, &self.shared.cache) {
            compiler.compile(wasm, cache.directory())?;
            return self.cached(digest).ok_or_else(|| {
                LoadError::Host(HostFailure {
                    doing: "compiling a plugin",
                    reason: format!("{} does not have it", cache.directory().display()),
                })
            });
        }
        let component = compile(&self.shared.wasmtime, wasm)?;
        if let Some(cache) = &self.shared.cache
            && let Err(error) = cache.put(digest.hex(), &component)
        {
            tracing::warn!(%error, "a compiled plugin could not be kept; it is compiled again next time");
        }
        Ok(component)
    }
}

/// Compiles a module. What does not fit the contract is not worth keeping, and so an error.
pub(crate) fn compile(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Component, LoadError> {
    let binary = componentize(wasm)?;
    let component =
        Component::from_binary(engine, &binary).map_err(|error| LoadError::Compile {
            reason: format!("{error:#}"),
        })?;
    world::check_component(&component)?;
    Ok(component)
}

/// All host capabilities, one file each.
fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    linker.instance(world::TYPES)?;
    collector::link(&mut linker.instance(world::EFFECTS)?)?;
    diagnostics::link(&mut linker.instance(world::DIAGNOSTICS)?)?;
    Ok(linker)
}
