//! What can go wrong. A guest's fault (`PluginFailure`, the messages of `LoadError`) and a failure of the host
//! (`HostFailure`) are different types, so that a plugin's owner is never blamed for ours, nor we for theirs.

use std::path::PathBuf;
use std::time::Duration;

use crate::compiler::CompileLimit;
use crate::descriptor::DescriptorError;

/// What the guest's panic hook said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    pub message: String,
    /// `file:line:column`.
    pub location: String,
}

/// The guest did something that ends its call. Nothing of the call is kept; the instance is made anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginFailure {
    /// It trapped, panicked, or broke the component ABI.
    #[error("{}", trap_text(reason, panic.as_ref()))]
    Trap {
        reason: String,
        panic: Option<Panic>,
        /// Innermost first: function, and source line when the module has debug information.
        backtrace: Vec<String>,
    },
    #[error("it used {} ms of CPU in one call; limits.call_cpu is {} ms", used.as_millis(), limit.as_millis())]
    CpuLimit { used: Duration, limit: Duration },
    #[error("it asked for {asked} bytes of memory; limits.memory is {limit}")]
    MemoryLimit { asked: usize, limit: usize },
    #[error("it emitted more than {limit} bytes in one call")]
    OutputLimit { limit: usize },
    /// What it emitted breaks the layout of effects frames, or what it returned is not possible.
    #[error("it broke the contract: {reason}")]
    Malformed { reason: String },
    /// `process` returned code 1: it may work when tried again.
    #[error("it is unavailable for now: {message}")]
    Unavailable { message: String },
    /// `process` returned another code: it must not go on.
    #[error("it gave up: {message} (code {code})")]
    Fatal { code: u32, message: String },
}

fn trap_text(reason: &str, panic: Option<&Panic>) -> String {
    match panic {
        Some(panic) => format!("it panicked at {}: {}", panic.location, panic.message),
        None => format!("it trapped: {reason}"),
    }
}

/// A failure that no guest can be blamed for.
#[derive(Debug, thiserror::Error)]
#[error("the plugin host failed while {doing}: {reason}")]
pub struct HostFailure {
    pub doing: &'static str,
    pub reason: String,
}

/// One complaint about the stage's config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigIssue {
    /// Path inside the config, as `columns[2]`; empty for the whole.
    pub path: String,
    pub message: String,
}

/// Why an instance could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InstantiateError {
    #[error("the plugin refuses its config: {}", issues_text(issues))]
    Config { issues: Vec<ConfigIssue> },
    #[error(transparent)]
    Plugin(#[from] PluginFailure),
    #[error(transparent)]
    Host(#[from] HostFailure),
}

fn issues_text(issues: &[ConfigIssue]) -> String {
    let texts: Vec<String> = issues
        .iter()
        .map(|issue| match issue.path.as_str() {
            "" => issue.message.clone(),
            path => format!("{path}: {}", issue.message),
        })
        .collect();
    texts.join("; ")
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Plugin(#[from] PluginFailure),
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl From<InstantiateError> for ProcessError {
    /// An instance that is made anew has the config that was accepted before; a plugin that refuses it now gives up.
    fn from(error: InstantiateError) -> Self {
        match error {
            InstantiateError::Plugin(failure) => Self::Plugin(failure),
            InstantiateError::Host(failure) => Self::Host(failure),
            InstantiateError::Config { ref issues } => Self::Plugin(PluginFailure::Fatal {
                code: millstream_frames::CODE_FATAL,
                message: format!(
                    "a config that it took before is refused now: {}",
                    issues_text(issues)
                ),
            }),
        }
    }
}

/// Why a file is not a plugin that can run here.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the module has {bytes} bytes; at most {max} are loaded")]
    TooLarge { bytes: u64, max: usize },
    #[error("this is not WebAssembly: it begins with {begins}")]
    NotWasm { begins: String },
    #[error(
        "this is a core module without a component type; build it with an SDK (in Rust: `millstream-sdk` and \
         `cargo build --target wasm32-unknown-unknown`), or give a component of the world millstream:plugin/plugin"
    )]
    NoComponentType,
    #[error("the module is not valid: {reason}")]
    Invalid { reason: String },
    #[error("the plugin imports {}, which Millstream does not offer{hint}", imports.join(", "))]
    ForeignImports {
        imports: Vec<String>,
        hint: &'static str,
    },
    #[error("the plugin was built for {found}; this host offers {newest}: update Millstream")]
    NewerContract { found: String, newest: &'static str },
    #[error(
        "the plugin does not export {missing}; is it built for the world millstream:plugin/plugin?"
    )]
    MissingExport { missing: String },
    #[error("export {function} has another signature than the contract: {reason}")]
    WrongSignature {
        function: &'static str,
        reason: String,
    },
    #[error("the plugin cannot be compiled: {reason}")]
    Compile { reason: String },
    #[error("compiling the plugin took more than {limit}, the limit for one module")]
    CompileLimit { limit: CompileLimit },
    /// What the process that compiles says of the module, in the words of the other variants.
    #[error("{reason}")]
    Refused { reason: String },
    #[error("the process that compiled the plugin ended with {status}: {words}")]
    CompilerEnded { status: String, words: String },
    #[error("the plugin failed to describe itself: {0}")]
    Describe(PluginFailure),
    #[error("the plugin's descriptor is refused: {0}")]
    Descriptor(#[from] DescriptorError),
    #[error(transparent)]
    Host(#[from] HostFailure),
}
