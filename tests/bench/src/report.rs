//! The figures, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use crate::system::SystemKind;

/// One figure of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured, unit last (`p50_ms`).
    pub name: String,
    pub value: f64,
    /// What we aim at, as a sentence of the form `<= 1`; empty without an aim.
    pub aim: &'static str,
}

impl Figure {
    pub fn new(name: impl Into<String>, value: f64) -> Figure {
        Figure {
            name: name.into(),
            value,
            aim: "",
        }
    }

    pub fn aim(mut self, aim: &'static str) -> Figure {
        self.aim = aim;
        self
    }
}

#[derive(Debug, Serialize)]
struct Run {
    case: &'static str,
    system: String,
    figures: Vec<Figure>,
}

/// All runs, in the order in which they were made.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    runs: Vec<Run>,
}

impl Report {
    pub fn add(&mut self, case: &'static str, system: SystemKind, figures: Vec<Figure>) {
        self.runs.push(Run {
            case,
            system: system.to_string(),
            figures,
        });
    }

    pub fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// The runs' values of one figure of one system.
    fn values(&self, case: &str, system: &str, name: &str) -> Vec<f64> {
        let runs = self
            .runs
            .iter()
            .filter(|run| run.case == case && run.system == system);
        let figures = runs.flat_map(|run| &run.figures);
        figures
            .filter(|figure| figure.name == name)
            .map(|figure| figure.value)
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |formatter: &mut fmt::Formatter<'_>, cells: [&str; 5]| {
            let [case, figure, system, values, aim] = cells;
            writeln!(
                formatter,
                "{case:<14} {figure:<38} {system:<11} {values:>22}  {aim}"
            )
        };
        row(
            formatter,
            ["CASE", "FIGURE", "SYSTEM", "VALUE (EACH RUN)", "AIM"],
        )?;
        let mut seen = Vec::new();
        for run in &self.runs {
            for figure in &run.figures {
                let key = (run.case, figure.name.clone(), run.system.clone());
                if seen.contains(&key) {
                    continue;
                }
                let values = self.values(run.case, &run.system, &figure.name);
                let values = values
                    .iter()
                    .map(|value| significant(*value))
                    .collect::<Vec<_>>()
                    .join(" / ");
                row(
                    formatter,
                    [run.case, &figure.name, &run.system, &values, figure.aim],
                )?;
                seen.push(key);
            }
        }
        Ok(())
    }
}

/// Three significant digits, no exponent.
fn significant(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else if value.abs() >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_system_share_a_row() {
        let mut report = Report::default();
        report.add(
            "start",
            SystemKind::Millstream,
            vec![Figure::new("metadata_ms", 31.25).aim("< 100")],
        );
        report.add(
            "start",
            SystemKind::Kafka,
            vec![Figure::new("metadata_ms", 4_400.0)],
        );
        report.add(
            "start",
            SystemKind::Millstream,
            vec![Figure::new("metadata_ms", 0.5)],
        );
        let text = report.to_string();
        let row = text
            .lines()
            .find(|line| line.contains("millstream"))
            .unwrap();
        assert!(
            row.contains("31.2 / 0.500") && row.ends_with("< 100"),
            "{row}"
        );
        assert!(text.contains("4400"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
