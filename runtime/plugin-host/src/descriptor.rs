//! What a plugin says about itself. The manifest is checked against it before anything changes.

use serde::{Deserialize, Serialize};

/// The plugin's own description. Keys that this host does not know are ignored: the document only ever grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    pub name: String,
    pub version: String,
    /// Frame version that the plugin was built for.
    pub frames: u8,
    /// Names of the inputs, usually `["in"]`. A manifest's short form `inputs = "topic"` binds the only one.
    pub inputs: Vec<String>,
    /// Names of the outputs, in no order that matters: indices come from the open context. A manifest's short form
    /// `outputs = "topic"` binds the only one.
    pub outputs: Vec<String>,
    /// JSON Schema of the stage's config; `None`: the plugin takes no config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<serde_json::Value>,
    /// SDK and its version, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdk: Option<String>,
    /// Features of later contracts that the plugin needs (stores, timers, secrets …). This host offers none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// What is wrong with a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    #[error("it has {bytes} bytes; at most {max} are read")]
    TooLarge { bytes: usize, max: usize },
    #[error("it is not the JSON document of the contract: {reason}")]
    NotTheDocument { reason: String },
    #[error(
        "{what} `{name}` is not a name: it may have 1 to 128 letters, digits, `.`, `_` and `-`"
    )]
    BadName { what: &'static str, name: String },
    #[error("{what} `{name}` is named twice")]
    Twice { what: &'static str, name: String },
    #[error("it names no input")]
    NoInput,
    #[error("it wants frames of version {wanted}; this host writes {newest}")]
    NewerFrames { wanted: u8, newest: u8 },
    #[error("it needs {needs:?}, which this version of Millstream does not offer")]
    Needs { needs: Vec<String> },
}

impl Descriptor {
    pub(crate) fn parse(text: &str) -> Result<Self, DescriptorError> {
        if text.len() > crate::limits::DESCRIPTOR_BYTES_MAX {
            return Err(DescriptorError::TooLarge {
                bytes: text.len(),
                max: crate::limits::DESCRIPTOR_BYTES_MAX,
            });
        }
        let descriptor: Self =
            serde_json::from_str(text).map_err(|error| DescriptorError::NotTheDocument {
                reason: error.to_string(),
            })?;
        descriptor.check()?;
        Ok(descriptor)
    }

    fn check(&self) -> Result<(), DescriptorError> {
        if self.frames > millstream_frames::FRAME_VERSION {
            return Err(DescriptorError::NewerFrames {
                wanted: self.frames,
                newest: millstream_frames::FRAME_VERSION,
            });
        }
        if !self.needs.is_empty() {
            return Err(DescriptorError::Needs {
                needs: self.needs.clone(),
            });
        }
        check_name("plugin", &self.name)?;
        if self.inputs.is_empty() {
            return Err(DescriptorError::NoInput);
        }
        for (what, names) in [("input", &self.inputs), ("output", &self.outputs)] {
            for (index, name) in names.iter().enumerate() {
                check_name(what, name)?;
                if names[..index].contains(name) {
                    return Err(DescriptorError::Twice {
                        what,
                        name: name.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), DescriptorError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 128 || !name.chars().all(good) {
        return Err(DescriptorError::BadName {
            what,
            name: crate::limits::cut(name, 200).to_owned(),
        });
    }
    Ok(())
}
