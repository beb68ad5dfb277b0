//! `docs/settings.md` says what the tables of settings say. `cargo xtask docs` writes it.

use std::path::Path;

/// Set by `cargo xtask docs`: write the page instead of comparing it.
const WRITE: &str = "MILLSTREAM_WRITE_DOCS";

#[test]
fn the_page_of_settings_is_up_to_date() {
    let page = millstream_broker::settings_page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, page).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/settings.md is out of date: run `cargo xtask docs` and commit it"
    );
}
