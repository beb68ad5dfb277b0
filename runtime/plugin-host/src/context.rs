//! What a plugin is told when it is opened.

use serde::Serialize;

/// One input, in the order of its index in the events frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputBinding {
    pub name: String,
    pub topic: String,
}

/// The JSON document that `open` receives. Keys are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpenContext {
    pub pipeline: String,
    pub stage: String,
    /// Partition of the task.
    pub partition: i32,
    /// Inputs; a run's `input` is an index here.
    pub inputs: Vec<InputBinding>,
    /// Names of the outputs; an output's `target` is an index here.
    pub outputs: Vec<String>,
    /// The stage's config, as in the manifest; `null` when there is none.
    pub config: serde_json::Value,
}

impl OpenContext {
    /// The document, with the frame version that the host writes.
    pub(crate) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            frames: u8,
            #[serde(flatten)]
            context: &'a OpenContext,
        }
        serde_json::to_string(&Document {
            frames: millstream_frames::FRAME_VERSION,
            context: self,
        })
        .expect("strings and numbers become JSON")
    }
}
