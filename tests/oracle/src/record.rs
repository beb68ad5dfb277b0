//! A committed record as a consumer sees it.

use std::fmt;

/// A header's name and value.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// Everything about a record that a pipeline answers for. Its offset is not part of it: where transactions end decides
/// how many markers lie between records. The order of records of a partition is their order in a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Record {
    pub topic: String,
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

impl Record {
    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self
            .headers
            .iter()
            .find(|(found, _)| found == name.as_bytes());
        found.and_then(|(_, value)| value.as_deref())
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{} @{}", self.topic, self.partition, self.timestamp)?;
        write!(f, " key={}", Shown(self.key.as_deref()))?;
        write!(f, " value={}", Shown(self.value.as_deref()))?;
        for (name, value) in &self.headers {
            write!(
                f,
                " {}={}",
                String::from_utf8_lossy(name),
                Shown(value.as_deref())
            )?;
        }
        Ok(())
    }
}

/// Bytes as text, cut where they get long.
struct Shown<'a>(Option<&'a [u8]>);

const SHOWN_LEN_MAX: usize = 240;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("null"),
            Some(bytes) if bytes.len() <= SHOWN_LEN_MAX => {
                write!(f, "{:?}", String::from_utf8_lossy(bytes))
            }
            Some(bytes) => {
                let shown = String::from_utf8_lossy(&bytes[..SHOWN_LEN_MAX]);
                write!(f, "{shown:?}… ({} bytes)", bytes.len())
            }
        }
    }
}
