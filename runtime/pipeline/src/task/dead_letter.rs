//! A refused record on its way to the dead-letter topic: the record as it was, and headers that say
//! where it came from and why it was refused.

/// Headers that a dead letter has behind the record's own. Their values are UTF-8 text, numbers in
/// decimal.
pub const HEADER_PIPELINE: &str = "millstream.dead.pipeline";
pub const HEADER_STAGE: &str = "millstream.dead.stage";
pub const HEADER_TOPIC: &str = "millstream.dead.topic";
pub const HEADER_PARTITION: &str = "millstream.dead.partition";
pub const HEADER_OFFSET: &str = "millstream.dead.offset";
/// The plugin's code (0 unless it chose one), or one of the host's below.
pub const HEADER_CODE: &str = "millstream.dead.code";
pub const HEADER_MESSAGE: &str = "millstream.dead.message";

/// The plugin's output could not be sent: too large for its topic, to a partition that does not
/// exist, or without a key to a compacted topic. The host's own codes begin at 65,536; a plugin's are its own choice.
pub const CODE_OUTPUT_MISFIT: u32 = 65_536;

/// A row of a source's file cannot be used: it does not parse, or lacks what the manifest names.
pub const CODE_UNUSABLE_ROW: u32 = 65_537;

/// Why one record was refused, and which it was.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'r> {
    pub pipeline: &'r str,
    pub stage: &'r str,
    /// Where it stands; of a source's row the file as the manifest names it, 0, and the row's number from 1.
    pub topic: &'r str,
    pub partition: i32,
    pub offset: i64,
    pub code: u32,
    pub message: &'r str,
}

impl Refusal<'_> {
    /// The headers' values in the order of [`NAMES`].
    pub fn values(&self) -> Values {
        Values([
            self.pipeline.to_owned(),
            self.stage.to_owned(),
            self.topic.to_owned(),
            self.partition.to_string(),
            self.offset.to_string(),
            self.code.to_string(),
            self.message.to_owned(),
        ])
    }
}

/// The values of a dead letter's headers.
pub struct Values([String; 7]);

impl Values {
    /// The headers that a dead letter has behind its own.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        let named = NAMES.iter().zip(&self.0);
        named.map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())))
    }
}

/// The headers' names in their order.
const NAMES: [&str; 7] = [
    HEADER_PIPELINE,
    HEADER_STAGE,
    HEADER_TOPIC,
    HEADER_PARTITION,
    HEADER_OFFSET,
    HEADER_CODE,
    HEADER_MESSAGE,
];
