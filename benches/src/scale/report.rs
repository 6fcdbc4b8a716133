//! What the cases found: figures beside their targets, as a table for people and as JSON for records.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::Serialize;

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn is_reached(self, value: f64) -> bool {
        match self {
            Target::AtMost(most) => value <= most,
            Target::AtLeast(least) => value >= least,
        }
    }
}

#[derive(Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    target: Option<Target>,
    reached: Option<bool>,
    detail: String,
}

/// What one case found.
#[derive(Default, Serialize)]
pub(crate) struct Findings {
    figures: Vec<Figure>,
    notes: Vec<String>,
    samples: BTreeMap<String, Vec<f64>>,
}

impl Findings {
    /// A figure that explains another.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure {
            name: name.into(),
            value,
            unit,
            target: None,
            reached: None,
            detail: String::new(),
        });
    }

    /// A figure that has something to reach.
    pub(crate) fn aimed(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: Target,
    ) {
        self.figures.push(Figure {
            name: name.into(),
            value,
            unit,
            target: Some(target),
            reached: Some(target.is_reached(value)),
            detail: String::new(),
        });
    }

    /// What there is to say of the last figure.
    pub(crate) fn detail(&mut self, detail: impl Into<String>) {
        if let Some(figure) = self.figures.last_mut() {
            figure.detail = detail.into();
        }
    }

    /// What a figure can't say.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// What figures were made of; only in the JSON.
    pub(crate) fn samples(&mut self, label: impl Into<String>, samples: Vec<f64>) {
        self.samples.insert(label.into(), samples);
    }
}

#[derive(Serialize)]
struct Entry {
    case: &'static str,
    #[serde(flatten)]
    findings: Option<Findings>,
    failure: Option<String>,
}

/// What all cases found.
#[derive(Serialize)]
pub(crate) struct Report {
    unix_time: u64,
    cores: Option<usize>,
    runs: usize,
    cases: Vec<Entry>,
}

impl Report {
    pub(crate) fn new(runs: usize) -> Report {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Report {
            unix_time: since.map_or(0, |since| since.as_secs()),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            runs,
            cases: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, case: &'static str, found: Result<Findings>) {
        let (findings, failure) = match found {
            Ok(findings) => (Some(findings), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        self.cases.push(Entry {
            case,
            findings,
            failure,
        });
    }

    /// Whether every case could run.
    pub(crate) fn is_complete(&self) -> bool {
        self.cases.iter().all(|entry| entry.failure.is_none())
    }

    /// A table in Markdown, and the notes below it.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| case | figure | value | unit | target | reached | |\n|---|---|--:|---|--:|---|---|\n",
        );
        let mut notes = String::new();
        for entry in &self.cases {
            let case = entry.case;
            if let Some(failure) = &entry.failure {
                text += &format!("| {case} | failed | | | | no | |\n");
                notes += &format!("* {case}: {failure}\n");
            }
            let Some(findings) = &entry.findings else {
                continue;
            };
            for figure in &findings.figures {
                row(&mut text, case, figure);
            }
            for note in &findings.notes {
                notes += &format!("* {case}: {note}\n");
            }
        }
        if !notes.is_empty() {
            text += "\n";
        }
        text + &notes
    }
}

fn row(text: &mut String, case: &str, figure: &Figure) {
    let target = match figure.target {
        Some(Target::AtMost(most)) => format!("≤ {}", number(most)),
        Some(Target::AtLeast(least)) => format!("≥ {}", number(least)),
        None => String::new(),
    };
    let reached = match figure.reached {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    };
    let (name, value, unit) = (&figure.name, number(figure.value), figure.unit);
    // Writing to a string can't fail.
    let _ = writeln!(
        text,
        "| {case} | {name} | {value} | {unit} | {target} | {reached} | {} |",
        figure.detail
    );
}

/// Three digits that count; a whole number as it is.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_stands_beside_its_target() {
        let mut findings = Findings::default();
        findings.aimed("worst", 1.504, "×", Target::AtMost(1.5));
        findings.detail("near");
        findings.aimed("live", 28_000.0, "", Target::AtLeast(28_000.0));
        let mut report = Report::new(1);
        report.add("some", Ok(findings));
        report.add("other", Err(anyhow::anyhow!("no such thing")));
        let table = report.table();
        assert!(table.contains("| some | worst | 1.50 | × | ≤ 1.50 | no | near |"));
        assert!(table.contains("| some | live | 28000 |  | ≥ 28000 | yes |  |"));
        assert!(table.ends_with("\n* other: no such thing\n"));
        assert!(!report.is_complete());
    }
}
