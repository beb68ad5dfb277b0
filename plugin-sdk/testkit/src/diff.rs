//! What differs between the outcomes that were expected and those that came, line by line.

use std::fmt;

use serde_json::Value;

/// Equal lines that are shown around a difference.
const CONTEXT_LINES: usize = 3;
/// Records that are shown; of the others only their number.
const RECORDS_MAX: usize = 10;
/// Comparing two texts takes this many steps at most; beyond, all lines of one stand before all lines of the other.
const STEPS_MAX: usize = 1 << 20;

/// At least one outcome that is not as expected: lines with `-` were expected, lines with `+` came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Number of the record, from 1; what was expected, and what came.
    records: Vec<(usize, Option<Value>, Option<Value>)>,
}

impl Difference {
    /// `None`: they are the same.
    pub fn between(expected: &[Value], found: &[Value]) -> Option<Self> {
        let count = expected.len().max(found.len());
        let records = (0..count).map(|index| {
            let side = |side: &[Value]| side.get(index).cloned();
            (index + 1, side(expected), side(found))
        });
        let records: Vec<_> = records
            .filter(|(_, expected, found)| expected != found)
            .collect();
        (!records.is_empty()).then_some(Self { records })
    }

    /// How many outcomes differ.
    pub fn records(&self) -> usize {
        self.records.len()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (record, expected, found)) in self.records.iter().take(RECORDS_MAX).enumerate()
        {
            let line = if index == 0 { "" } else { "\n" };
            writeln!(f, "{line}record {record}:")?;
            f.write_str(&of_texts(&pretty(expected), &pretty(found)))?;
        }
        match self.records.len().saturating_sub(RECORDS_MAX) {
            0 => Ok(()),
            more => writeln!(f, "\nand {more} more"),
        }
    }
}

/// Nothing, where there is no outcome.
fn pretty(outcome: &Option<Value>) -> String {
    outcome
        .as_ref()
        .map_or_else(String::new, |outcome| format!("{outcome:#}"))
}

/// The lines of both texts, each with `-`, `+` or a blank in front.
pub fn of_texts(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<&str>, Vec<&str>) =
        (expected.lines().collect(), found.lines().collect());
    let lines = edits(&expected, &found);
    let near = |index: usize| {
        let first = index.saturating_sub(CONTEXT_LINES);
        let last = (index + CONTEXT_LINES).min(lines.len() - 1);
        lines[first..=last].iter().any(|(sign, _)| *sign != ' ')
    };
    let mut text = String::new();
    let mut left_out = false;
    for (index, (sign, line)) in lines.iter().enumerate() {
        if near(index) {
            text += &format!("{sign} {line}\n");
            left_out = false;
        } else if !left_out {
            text += "  …\n";
            left_out = true;
        }
    }
    text
}

/// A shortest way from one list to the other, by their longest common part.
fn edits<'t>(expected: &[&'t str], found: &[&'t str]) -> Vec<(char, &'t str)> {
    let head = equal_pairs(expected.iter().zip(found));
    let (expected_rest, found_rest) = (&expected[head..], &found[head..]);
    let tail = equal_pairs(expected_rest.iter().rev().zip(found_rest.iter().rev()));
    let expected_rest = &expected_rest[..expected_rest.len() - tail];
    let found_rest = &found_rest[..found_rest.len() - tail];

    let mut lines: Vec<_> = expected[..head].iter().map(|line| (' ', *line)).collect();
    lines.extend(middle(expected_rest, found_rest));
    let tail = &expected[expected.len() - tail..];
    lines.extend(tail.iter().map(|line| (' ', *line)));
    lines
}

/// How many pairs there are before the first unequal one.
fn equal_pairs<'l, 't: 'l>(pairs: impl Iterator<Item = (&'l &'t str, &'l &'t str)>) -> usize {
    pairs.take_while(|(one, other)| one == other).count()
}

fn middle<'t>(expected: &[&'t str], found: &[&'t str]) -> Vec<(char, &'t str)> {
    let (rows, columns) = (expected.len(), found.len());
    if rows.saturating_mul(columns) > STEPS_MAX {
        let gone = expected.iter().map(|line| ('-', *line));
        return gone.chain(found.iter().map(|line| ('+', *line))).collect();
    }
    // common[i][j]: length of the longest common part of expected[i..] and found[j..].
    let mut common = vec![vec![0u32; columns + 1]; rows + 1];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            common[i][j] = if expected[i] == found[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::with_capacity(rows + columns);
    while i < rows || j < columns {
        if i < rows && j < columns && expected[i] == found[j] {
            lines.push((' ', expected[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < rows && (j == columns || common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', expected[i]));
            i += 1;
        } else {
            lines.push(('+', found[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_changed_field_is_one_line_out_and_one_line_in() {
        let outcome =
            |value: &str| json!({"emitted": [{"output": "words", "key": "k", "value": value}]});
        let same = [outcome("mill")];
        assert_eq!(Difference::between(&same, &same), None);
        let found = [same[0].clone(), outcome("mils")];
        let expected = [same[0].clone(), outcome("mill")];
        let difference = Difference::between(&expected, &found).unwrap();
        assert_eq!(
            difference.to_string(),
            r#"record 2:
  …
      {
        "key": "k",
        "output": "words",
-       "value": "mill"
+       "value": "mils"
      }
    ]
  }
"#
        );
    }

    #[test]
    fn an_outcome_too_many_and_one_too_few_are_shown_whole() {
        let refused = json!({"refused": {"code": 0, "message": "no"}});
        let one = [json!({"emitted": []})];
        let two = [one[0].clone(), refused];
        let missing = Difference::between(&two, &one).unwrap();
        let lines = missing.to_string();
        assert!(
            lines.starts_with("record 2:\n- {\n-   \"refused\""),
            "{lines}"
        );
        let added = Difference::between(&one, &two).unwrap();
        assert_eq!(added.to_string(), lines.replace("\n-", "\n+"));
    }

    #[test]
    fn of_many_records_the_first_are_shown_and_the_others_counted() {
        let numbers = |from: u32| (from..from + 13).map(|n| json!(n)).collect::<Vec<_>>();
        let difference = Difference::between(&numbers(0), &numbers(1)).unwrap();
        assert_eq!(difference.records(), 13);
        let text = difference.to_string();
        assert!(text.contains("record 10:\n- 9\n+ 10\n"), "{text}");
        assert!(
            !text.contains("record 11") && text.ends_with("\nand 3 more\n"),
            "{text}"
        );
    }

    #[test]
    fn texts_without_a_common_line_and_very_long_ones_are_compared_too() {
        assert_eq!(of_texts("a\nb", "c"), "- a\n- b\n+ c\n");
        assert_eq!(of_texts("a\nb\nc", "b\nc\nd"), "- a\n  b\n  c\n+ d\n");
        let long = |prefix: &str| {
            let lines = (0..2_000).map(|n| format!("{prefix}{n}\n"));
            lines.collect::<String>()
        };
        let text = of_texts(&long("a"), &long("b"));
        assert_eq!(text.lines().count(), 4_000);
        assert!(text.starts_with("- a0\n") && text.ends_with("+ b1999\n"));
    }
}
