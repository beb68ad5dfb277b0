//! Which incarnation of a pipeline runs. Offsets, progress and transactions are kept under its id: the
//! pipeline's name at first, `name~2` after the first `--fresh`, and so on. The tasks' metadata records
//! tell which there were.

use millstream_cluster::Image;

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Where the newest incarnation stopped.
    Resume,
    /// From the beginning, as a new incarnation.
    Fresh,
}

/// The id of a run that starts so.
pub fn pipeline_id(image: &Image, name: &str, start: Start) -> String {
    let ids = image.tasks().map(|(key, _)| key.pipeline.as_str());
    let newest = ids.filter_map(|id| number(id, name)).max();
    let number = match (newest, start) {
        (None, _) => 1,
        (Some(newest), Start::Resume) => newest,
        (Some(newest), Start::Fresh) => newest.saturating_add(1),
    };
    match number {
        1 => name.to_owned(),
        number => format!("{name}~{number}"),
    }
}

/// The incarnation that an id stands for, if it is one of this pipeline.
pub fn number(id: &str, name: &str) -> Option<u32> {
    let rest = id.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(1);
    }
    rest.strip_prefix('~')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use millstream_cluster::{MetadataRecord, TaskKey, TaskTopics};

    use super::*;

    #[test]
    fn ids_of_other_pipelines_are_not_ours() {
        assert_eq!(number("flights", "flights"), Some(1));
        assert_eq!(number("flights~12", "flights"), Some(12));
        assert_eq!(number("flights2", "flights"), None);
        assert_eq!(number("other", "flights"), None);
    }

    /// An image in which these incarnations have a task.
    fn image(ids: &[&str]) -> Image {
        let task = |id: &&str| MetadataRecord::Task {
            key: TaskKey {
                pipeline: (*id).to_owned(),
                stage: "clean".to_owned(),
                partition: 0,
            },
            node_id: 1,
            epoch: 0,
            topics: TaskTopics::default(),
        };
        let records: Vec<MetadataRecord> = ids.iter().map(task).collect();
        let last = i64::try_from(records.len()).unwrap() - 1;
        Image::default().with(&records, last).unwrap()
    }

    #[test]
    fn a_fresh_start_comes_after_the_newest_and_a_resumed_one_is_the_newest() {
        let once = image(&["flights", "flights2", "other~7"]);
        assert_eq!(pipeline_id(&once, "flights", Start::Resume), "flights");
        assert_eq!(pipeline_id(&once, "flights", Start::Fresh), "flights~2");
        let often = image(&["flights~2", "flights", "flights~10", "flights~9"]);
        assert_eq!(pipeline_id(&often, "flights", Start::Resume), "flights~10");
        assert_eq!(pipeline_id(&often, "flights", Start::Fresh), "flights~11");
    }

    #[test]
    fn a_pipeline_that_never_ran_begins_under_its_name() {
        let image = Image::default();
        assert_eq!(pipeline_id(&image, "flights", Start::Fresh), "flights");
        assert_eq!(pipeline_id(&image, "flights", Start::Resume), "flights");
    }
}
