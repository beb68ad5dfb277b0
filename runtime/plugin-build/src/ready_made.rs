//! The ready-made plugins: modules that are part of this program, compressed, so that a machine without a wasm
//! toolchain can run them. `cargo xtask plugins` makes them of the crates in `plugins/`.

use std::io::Read as _;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::sdk::hex;

mod packed {
    include!(concat!(env!("OUT_DIR"), "/ready_made.rs"));
}

/// A module may take so many bytes of the repository, compressed.
pub const PACKED_BYTES_MAX: usize = 60 * 1024;
/// Modules are packed once and unpacked in a millisecond, so this may take its time.
const LEVEL: i32 = 19;

/// What stands beside a module: what it is, and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    pub version: String,
    pub description: String,
    /// SHA-256 over everything that decides what the module is, the compiler aside.
    pub sources: String,
    /// The compiler: another one makes other bytes of the same sources.
    pub toolchain: String,
    /// SHA-256 of the module, unpacked.
    pub module: String,
    pub module_bytes: u64,
}

/// A plugin that needs no build.
#[derive(Debug)]
pub struct ReadyMade {
    pub name: &'static str,
    pub about: About,
    packed: &'static [u8],
}

/// A module of ours that is not what its description says: this program's file is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the ready-made plugin {name} is damaged in this program: {reason}")]
pub struct DamagedModule {
    name: &'static str,
    reason: String,
}

/// All of them, by name.
pub fn ready_made() -> &'static [ReadyMade] {
    static ALL: LazyLock<Vec<ReadyMade>> = LazyLock::new(|| {
        let all = packed::READY_MADE.iter();
        all.map(|(name, about, packed)| ReadyMade {
            name,
            about: serde_json::from_str(about)
                .unwrap_or_else(|error| panic!("plugins/{name}/ready-made.json: {error}")),
            packed,
        })
        .collect()
    });
    &ALL
}

impl ReadyMade {
    /// The module's bytes.
    pub fn module(&self) -> Result<Vec<u8>, DamagedModule> {
        let damaged = |reason: String| DamagedModule {
            name: self.name,
            reason,
        };
        let module = unpack(self.packed, self.about.module_bytes)
            .map_err(|error| damaged(error.to_string()))?;
        let found = digest(&module);
        if found != self.about.module {
            let wanted = &self.about.module;
            return Err(damaged(format!(
                "its digest is {found} instead of {wanted}"
            )));
        }
        Ok(module)
    }
}

/// SHA-256 in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A module as it lies in the repository.
pub fn pack(module: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(module, LEVEL)
}

/// The module in `packed`, which has at most `bytes_max` bytes.
pub fn unpack(packed: &[u8], bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut module = Vec::new();
    let decoder = zstd::Decoder::new(packed)?;
    decoder
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut module)?;
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_whole_and_small() {
        let names: Vec<_> = ready_made().iter().map(|plugin| plugin.name).collect();
        assert_eq!(names, ["field-filter", "mask-digits"]);
        for plugin in ready_made() {
            let module = plugin.module().unwrap();
            assert_eq!(module.len() as u64, plugin.about.module_bytes);
            assert!(module.starts_with(b"\0asm"));
            assert!(
                plugin.packed.len() <= PACKED_BYTES_MAX,
                "{} has {} bytes",
                plugin.name,
                plugin.packed.len()
            );
        }
    }

    #[test]
    fn what_was_packed_is_unpacked_and_damage_is_found() {
        let module = b"\0asm, and so on".repeat(100);
        let packed: &'static [u8] = pack(&module).unwrap().leak();
        let about = About {
            version: "1.0.0".to_owned(),
            description: String::new(),
            sources: String::new(),
            toolchain: String::new(),
            module: digest(&module),
            module_bytes: module.len() as u64,
        };
        let plugin = |packed, about: &About| ReadyMade {
            name: "mill",
            about: about.clone(),
            packed,
        };
        assert_eq!(plugin(packed, &about).module().unwrap(), module);
        let others = [
            plugin(&packed[..packed.len() / 2], &about),
            plugin(pack(b"other").unwrap().leak(), &about),
            // More than it says is not even unpacked.
            plugin(pack(&vec![0; 1 << 24]).unwrap().leak(), &about),
        ];
        for other in others {
            let error = other.module().unwrap_err().to_string();
            assert!(error.contains("mill is damaged"), "{error}");
        }
    }
}
