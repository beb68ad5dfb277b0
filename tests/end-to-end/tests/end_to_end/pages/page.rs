//! A page of Markdown, as far as a reader works with it: what to type, and files to write.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// What a fenced block asks the reader for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// ```` ```sh ````: to be typed.
    Commands(String),
    /// ```` ```rust src/lib.rs ````: to be written into that file.
    File { path: String, text: String },
}

#[derive(Debug)]
pub struct Page {
    pub blocks: Vec<Block>,
}

impl Page {
    /// Reads a page, which must ask for something.
    pub fn read(path: &Path) -> Result<Page> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let blocks = blocks(&text);
        let types = |block: &Block| matches!(block, Block::Commands(_));
        ensure!(
            blocks.iter().any(types),
            "{} has nothing to type",
            path.display()
        );
        Ok(Page { blocks })
    }
}

/// The blocks in order; those that only show something are left out.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let inside = lines.by_ref().take_while(|line| *line != "```");
        let text: String = inside.map(|line| format!("{line}\n")).collect();
        match info.split_once(' ') {
            None if info == "sh" => blocks.push(Block::Commands(text)),
            Some((_, path)) => blocks.push(Block::File {
                path: path.trim().to_owned(),
                text,
            }),
            None => {}
        }
    }
    blocks
}

#[test]
fn blocks_to_type_and_files_are_told_from_what_is_only_shown() {
    let text =
        "text\n```sh\na\nb\n```\n```toml\nshown = 1\n```\n```rust src/lib.rs\nfn f() {}\n```\n";
    let expected = [
        Block::Commands("a\nb\n".to_owned()),
        Block::File {
            path: "src/lib.rs".to_owned(),
            text: "fn f() {}\n".to_owned(),
        },
    ];
    assert_eq!(blocks(text), expected);
}
