//! The terminal while progress is drawn on it: whatever else is printed goes above the bars.

use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;

use indicatif::MultiProgress;
use millstream_pipeline::manifest::Report;

/// Drawn on standard error, and nowhere when that is no terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Where bars are added.
pub fn bars() -> &'static MultiProgress {
    &BARS
}

/// Prints something while the bars are out of the way. It must not print through this module itself.
pub fn above_bars<T>(print: impl FnOnce() -> T) -> T {
    BARS.suspend(print)
}

/// Prints the warnings of a manifest on standard error, if there are any.
pub fn print_warnings(warnings: &Report) {
    if !warnings.is_empty() {
        let text = warnings.render(io::stderr().is_terminal());
        above_bars(|| eprintln!("{text}"));
    }
}

/// Writes whole lines above the bars; the part of a line is held until the rest comes, or a flush.
#[derive(Debug)]
pub struct AboveBars<W: Write> {
    out: W,
    pending: Vec<u8>,
}

impl<W: Write> AboveBars<W> {
    pub fn new(out: W) -> AboveBars<W> {
        AboveBars {
            out,
            pending: Vec::new(),
        }
    }

    fn put(&mut self, end: usize) -> io::Result<()> {
        let lines: Vec<u8> = self.pending.drain(..end).collect();
        above_bars(|| self.out.write_all(&lines))
    }
}

impl<W: Write> Write for AboveBars<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if let Some(newline) = self.pending.iter().rposition(|byte| *byte == b'\n') {
            self.put(newline + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.put(self.pending.len())?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written, call by call.
    #[derive(Debug, Default)]
    struct Calls(Vec<String>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bars_never_come_between_the_parts_of_a_line() {
        let mut out = AboveBars::new(Calls::default());
        for part in ["one\ntw", "o\n", "th", "ree"] {
            out.write_all(part.as_bytes()).unwrap();
        }
        assert_eq!(out.out.0, ["one\n", "two\n"]);
        out.flush().unwrap();
        assert_eq!(out.out.0, ["one\n", "two\n", "three"]);
    }
}
