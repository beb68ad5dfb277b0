//! The names of the directories in a data directory.

use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Ends the name of a directory whose log was deleted and whose files are being removed.
const DELETED_SUFFIX: &str = "-delete";
/// Ends the name of a directory that was set aside: nothing durable knew its log. It is kept for its owner to look at.
const STRAY_SUFFIX: &str = "-stray";

/// `TOPIC-PARTITION`
pub(crate) fn split_name(name: &str) -> Option<(String, i32)> {
    let (topic, number) = name.rsplit_once('-')?;
    let partition: i32 = number.parse().ok()?;
    // Only as we write it: `flights-007` and `flights-+7` are somebody else's.
    let is_ours = !topic.is_empty() && partition >= 0 && partition.to_string() == number;
    is_ours.then(|| (topic.to_owned(), partition))
}

/// The log of a directory that a deletion has renamed, by exactly the name that [`deleted_name`] gives. Another directory
/// that ends in `-delete` is its owner's.
pub(super) fn split_deleted(name: &str) -> Option<(String, i32)> {
    let (log, unique) = name.strip_suffix(DELETED_SUFFIX)?.rsplit_once('.')?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_ours = unique.len() == 32 && unique.bytes().all(is_hex);
    is_ours.then(|| split_name(log)).flatten()
}

/// The name under which a deleted log's directory is removed.
pub(super) fn deleted_name(dir: &Path) -> PathBuf {
    suffixed(dir, DELETED_SUFFIX)
}

/// The name under which an unknown log's directory is set aside.
pub(super) fn stray_name(dir: &Path) -> PathBuf {
    suffixed(dir, STRAY_SUFFIX)
}

fn suffixed(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".{}{suffix}", Uuid::new_v4().simple()));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(topic: &str, partition: i32) -> Option<(String, i32)> {
        Some((topic.to_owned(), partition))
    }

    #[test]
    fn a_logs_name_is_its_topic_and_its_partition() {
        assert_eq!(split_name("flights-0"), log("flights", 0));
        assert_eq!(split_name("a-b-2147483647"), log("a-b", i32::MAX));
        for other in [
            "flights",
            "-0",
            "a-",
            "a-x",
            "a-07",
            "a-+7",
            "a--",
            "a-2147483648",
        ] {
            assert_eq!(split_name(other), None, "{other}");
        }
    }

    #[test]
    fn only_the_names_that_we_give_are_those_of_deleted_logs() {
        let name_of = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let dir = Path::new("/data/a.b-12");
        assert_eq!(split_deleted(&name_of(deleted_name(dir))), log("a.b", 12));
        assert_eq!(split_deleted(&name_of(stray_name(dir))), None);
        for other in [
            "my-delete",
            "-delete",
            "a-0-delete",
            "a-0.-delete",
            "a-0.0123456789abcdef0123456789abcde-delete",
            "a-0.0123456789abcdef0123456789abcdeg-delete",
            "a-0.0123456789ABCDEF0123456789ABCDEF-delete",
            "a.0123456789abcdef0123456789abcdef-delete",
        ] {
            assert_eq!(split_deleted(other), None, "{other}");
        }
    }
}
