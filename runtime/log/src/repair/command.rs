//! The command that a user is told.

use std::path::Path;

/// The command with which a user can give up what is damaged in the log of this directory.
pub fn repair_command(dir: &Path) -> String {
    let root = dir.parent().unwrap_or(Path::new("."));
    let name = dir.file_name().unwrap_or_default();
    let root = quoted(&root.to_string_lossy());
    format!(
        "millstream log repair {root} --log {}",
        quoted(&name.to_string_lossy())
    )
}

/// What a user can do about damage in the log of this directory when no copy can be put back: the end of a sentence.
pub fn repair_advice(dir: &Path) -> String {
    let command = repair_command(dir);
    format!("`{command}` shows what is lost, and with --accept-loss gives it up on a stopped node")
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let is_plain =
        |character: char| character.is_alphanumeric() || "/._-+@%:,=~".contains(character);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
