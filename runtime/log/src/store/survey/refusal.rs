//! Whether a start goes on, by what lies in the directory.

use std::fmt;
use std::path::Path;

use super::Survey;
use crate::StoreOptions;
use crate::checkpoint::META_PROPERTIES;
use crate::store::node_checkpoint::FILE_NAME as CHECKPOINT_FILE;
use crate::store::{JOURNAL_DIR, StoreError, owner};

/// How many logs a message names.
const NAMED_MAX: usize = 3;

/// Logs whose directories were found, for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLogs {
    /// The first ones.
    pub names: Vec<String>,
    pub count: usize,
}

impl FoundLogs {
    fn new<'a>(dirs: impl Iterator<Item = &'a Path>) -> Self {
        let mut names: Vec<_> = dirs
            .filter_map(Path::file_name)
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.truncate(NAMED_MAX);
        Self { names, count }
    }
}

impl fmt::Display for FoundLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.names.join(", "))?;
        match self.count - self.names.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl Survey {
    /// The reason not to start here, if there is one. Nothing was changed so far.
    pub(in crate::store) fn check(&self, options: &StoreOptions) -> Result<(), StoreError> {
        if let Some(meta) = &self.meta {
            owner::check(meta, options)?;
        }
        if let Some((one, other)) = &self.twins {
            return Err(StoreError::Twins {
                one: one.clone(),
                other: other.clone(),
            });
        }
        let path = self.root.join(CHECKPOINT_FILE);
        let Some(checkpoint) = &self.checkpoint else {
            if self.journal_has_entries {
                return Err(StoreError::JournalAlone {
                    journal: self.root.join(JOURNAL_DIR),
                    path,
                });
            }
            let logs = self.found_logs(|_| true);
            return match options.metadata_log.is_some() && logs.count > 0 {
                true => Err(StoreError::NoCheckpoint {
                    dir: self.root.clone(),
                    logs,
                    path,
                }),
                false => Ok(()),
            };
        };
        if self.meta.is_none() {
            return Err(StoreError::NoOwner {
                path: self.root.join(META_PROPERTIES),
                content: owner::new(options).to_text(),
            });
        }
        if let (Some(fault), Some(id)) = (&self.metadata_fault, &options.metadata_log) {
            let key = (id.topic_id, id.partition);
            let name = id.to_string();
            let logs = self.found_logs(|dir| !dir.ends_with(&name));
            let was_there = checkpoint.get(&key).is_some_and(|at| at.recovery_point > 0);
            let knows_others = checkpoint.logs().any(|(known, _)| *known != key);
            if logs.count > 0 || knows_others || was_there {
                return Err(StoreError::NoMetadata {
                    dir: self.root.clone(),
                    fault: fault.clone(),
                    path: fault.path().to_owned(),
                });
            }
        }
        match self.lost_changes.first() {
            Some(lost) => Err(StoreError::LostChanges { lost: lost.clone() }),
            None => Ok(()),
        }
    }

    /// Directories that hold logs.
    fn found_logs(&self, is_counted: impl Fn(&Path) -> bool) -> FoundLogs {
        let named = self.logs.iter().map(|dir| dir.path.as_path());
        let nameless = self.nameless.iter().filter(|dir| dir.has_files);
        let nameless = nameless.map(|dir| dir.path.as_path());
        FoundLogs::new(named.chain(nameless).filter(|path| is_counted(path)))
    }
}
