//! A file that a source reads.

use std::path::PathBuf;
use std::time::Duration;

use millstream_pipeline::plan::Plan;
use millstream_pipeline::run::Summary;
use millstream_pipeline::testing::MemoryEngine;

use crate::rig::*;

/// A folder with a file and a manifest that reads it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn with(content: &[u8]) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write(content);
        folder
    }

    pub fn write(&self, content: &[u8]) {
        std::fs::write(self.file(), content).unwrap();
    }

    /// Gives the file another date than it had when it was written.
    pub fn touch(&self) {
        let file = std::fs::File::options().write(true).open(self.file());
        let later = std::time::SystemTime::now() + Duration::from_secs(5);
        file.unwrap().set_modified(later).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("rows")
    }

    /// Where its manifest stands.
    pub fn manifest(&self) -> PathBuf {
        self.0.path().join("p.toml")
    }

    pub async fn plan(&self, engine: &MemoryEngine, settings: &str) -> Plan {
        let body = format!(
            "[topic.rows]\npartitions = 3\n[source.s]\nfile = \"rows\"\ntopic = \"rows\"\n{settings}\n"
        );
        plan_at(&self.manifest(), &body, engine, &Plugins::none()).await
    }

    pub async fn run(&self, engine: &MemoryEngine, settings: &str) -> Summary {
        let plan = self.plan(engine, settings).await;
        run_once(&plan, engine, &Plugins::none()).await
    }
}
