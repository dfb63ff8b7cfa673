//! Findings of a check: for people with the lines of the file, for programs, for code scanning, for pull requests.

use jm_plan::{Place, PlanError};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, Severity};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::FindingsFormat;
use crate::report::document::Document;
use crate::report::narrow;
use crate::ui::Ui;

/// What was found in one file.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The file, as it was named.
    pub(crate) file: String,
    /// `plan` or `targets`.
    pub(crate) kind: &'static str,
    /// Errors and warnings, in the order of the file.
    pub(crate) findings: Vec<PlanError>,
    /// Warnings of the targets file that also concern this file, and that were told of another one.
    pub(crate) told_before: usize,
}

impl Checked {
    fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity() == severity)
            .count()
    }
}

/// Errors and warnings of all files.
pub(crate) fn totals(checked: &[Checked]) -> (usize, usize) {
    let sum = |severity| checked.iter().map(|file| file.count(severity)).sum();
    (sum(Severity::Error), sum(Severity::Warning))
}

/// Prints the findings of a check; under `strict` a warning fails it.
pub(crate) fn print(ui: &Ui, checked: &[Checked], format: FindingsFormat, strict: bool) {
    match format {
        FindingsFormat::Human => human(ui, checked, strict),
        FindingsFormat::Json => Document::of(Findings::of(checked)).print(ui),
        FindingsFormat::Sarif => ui.out(pretty(&sarif(checked))),
        FindingsFormat::Github => github(checked).iter().for_each(|line| ui.out(line)),
    }
}

/// Prints findings for people, to where the talk goes.
pub(crate) fn explain(ui: &Ui, findings: &[PlanError]) {
    for finding in findings {
        ui.insist(graphical(ui, finding));
    }
}

fn human(ui: &Ui, checked: &[Checked], strict: bool) {
    for file in checked {
        explain(ui, &file.findings);
    }
    for file in checked {
        let (errors, warnings) = (file.count(Severity::Error), file.count(Severity::Warning));
        ui.out(format!(
            "{} {}: {}",
            if errors == 0 && (warnings + file.told_before == 0 || !strict) {
                "ok  "
            } else {
                "FAIL"
            },
            file.file,
            verdict(errors, warnings + file.told_before)
        ));
    }
}

fn verdict(errors: usize, warnings: usize) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => "valid".to_owned(),
        (0, warnings) => format!("valid, {}", count(warnings, "warning")),
        (errors, 0) => count(errors, "error"),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

fn graphical(ui: &Ui, finding: &PlanError) -> String {
    let theme = if ui.color {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(ui.room().max(60))
        .with_links(false);
    let render = |finding: &dyn Diagnostic| {
        let mut text = String::new();
        handler.render_report(&mut text, finding).ok().map(|()| text)
    };
    // The renderer only fails where a place lies outside of the text: say it without the picture.
    narrow::picture(finding, ui.room(), render).unwrap_or_else(|| format!("{}: {}", finding.code(), finding.message()))
}

fn severity(finding: &PlanError) -> &'static str {
    match finding.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "note",
    }
}

/// What was found in all files.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Findings {
    /// Whether no file has an error. Warnings leave it valid, also where `--strict` ends with another exit code.
    valid: bool,
    errors: usize,
    warnings: usize,
    files: Vec<FileFindings>,
}

/// What was found in one file.
#[derive(Debug, Serialize, JsonSchema)]
struct FileFindings {
    /// The file, as it was named.
    file: String,
    /// `plan` or `targets`.
    kind: &'static str,
    /// Whether it has no error.
    valid: bool,
    /// In the order of the file.
    findings: Vec<Finding>,
}

/// One thing that is wrong, or may be.
#[derive(Debug, Serialize, JsonSchema)]
struct Finding {
    /// Its kind, which `jm explain` tells more of.
    code: String,
    /// `error`, `warning` or `note`.
    severity: &'static str,
    message: String,
    /// What to do about it.
    help: Option<String>,
    /// Where it is, the first place first.
    places: Vec<Place>,
}

impl Findings {
    pub(crate) fn of(checked: &[Checked]) -> Self {
        let (errors, warnings) = totals(checked);
        Self {
            valid: errors == 0,
            errors,
            warnings,
            files: checked.iter().map(FileFindings::of).collect(),
        }
    }
}

impl FileFindings {
    fn of(checked: &Checked) -> Self {
        Self {
            file: checked.file.clone(),
            kind: checked.kind,
            valid: checked.count(Severity::Error) == 0,
            findings: checked.findings.iter().map(Finding::of).collect(),
        }
    }
}

impl Finding {
    fn of(found: &PlanError) -> Self {
        Self {
            code: found.code().to_owned(),
            severity: severity(found),
            message: found.message().to_owned(),
            help: found.help_text().map(str::to_owned),
            places: found.places(),
        }
    }
}

/// SARIF 2.1.0 (OASIS), as far as code scanning reads it.
fn sarif(checked: &[Checked]) -> Value {
    let findings = || checked.iter().flat_map(|file| &file.findings);
    let mut codes: Vec<&str> = findings().map(PlanError::code).collect();
    codes.sort_unstable();
    codes.dedup();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "jm",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| json!({
                    "id": code,
                    "fullDescription": { "text": jm_plan::explain(code).unwrap_or_default() },
                })).collect::<Vec<_>>(),
            } },
            "results": findings().map(sarif_result).collect::<Vec<_>>(),
        }],
    })
}

fn sarif_result(finding: &PlanError) -> Value {
    let text = match finding.help_text() {
        Some(help) => format!("{}\n{help}", finding.message()),
        None => finding.message().to_owned(),
    };
    json!({
        "ruleId": finding.code(),
        "level": severity(finding),
        "message": { "text": text },
        "locations": finding.place().map(|place| json!({ "physicalLocation": {
            "artifactLocation": { "uri": place.file },
            "region": { "startLine": place.line, "startColumn": place.column, "endLine": place.end_line, "endColumn": place.end_column },
        } })).into_iter().collect::<Vec<_>>(),
    })
}

/// Workflow commands that GitHub turns into annotations at the lines of the diff.
fn github(checked: &[Checked]) -> Vec<String> {
    let mut lines = Vec::new();
    for file in checked {
        for finding in &file.findings {
            let level = if finding.severity() == Severity::Advice {
                "notice"
            } else {
                severity(finding)
            };
            let at = finding.place().map_or_else(
                || format!("file={}", property(&file.file)),
                |place| {
                    format!(
                        "file={},line={},col={},endLine={},endColumn={}",
                        property(&place.file),
                        place.line,
                        place.column,
                        place.end_line,
                        place.end_column
                    )
                },
            );
            let help = finding.help_text().map(|help| format!("\n{help}")).unwrap_or_default();
            lines.push(format!(
                "::{level} {at},title={}::{}",
                property(finding.code()),
                data(&format!("{}{help}", finding.message()))
            ));
        }
    }
    lines
}

/// Text of a workflow command: its line ends and percent signs are escaped, or it would end early.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflow_commands_hold_no_line_end() {
        assert_eq!(data("50%\nnext"), "50%25%0Anext");
        assert_eq!(property("a:b,c"), "a%3Ab%2Cc");
    }

    #[test]
    fn the_verdict_counts() {
        assert_eq!(verdict(0, 0), "valid");
        assert_eq!(verdict(1, 2), "1 error, 2 warnings");
        assert_eq!(verdict(0, 1), "valid, 1 warning");
    }
}
