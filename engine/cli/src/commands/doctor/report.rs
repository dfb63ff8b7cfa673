//! How it stands with the rights of targets: for people and for programs.

use jm_step::{Right, Secrets, Standing};
use schemars::JsonSchema;
use serde::Serialize;

use super::Asked;
use super::survey::Use;
use crate::args::Format;
use crate::report::document::Document;
use crate::report::table;
use crate::ui::{Style, Ui};

/// Which rights the credentials of targets have, beside those that steps need.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct Permissions {
    /// By targets file and name.
    targets: Vec<OfTarget>,
    /// How many rights are needed and not there.
    missing: usize,
    /// How many are there and not needed.
    excess: usize,
}

/// The rights of a target's credentials.
#[derive(Debug, Serialize, JsonSchema)]
struct OfTarget {
    /// The targets file.
    file: String,
    target: String,
    provider: String,
    /// Where its system is, as far as that is known without asking it.
    address: Option<String>,
    /// What there is to know of it besides, such as that nothing says which system it has to be.
    notes: Vec<String>,
    /// The steps that need something of it, as `plan/step`.
    steps: Vec<String>,
    /// Why it could not be asked.
    error: Option<String>,
    /// What is missing first.
    rights: Vec<ShownRight>,
}

/// A right, and how it stands with it.
#[derive(Debug, Serialize, JsonSchema)]
struct ShownRight {
    /// In the system's words, such as `s3:PutObject`, `list pods` or `CREATEDB`.
    right: String,
    standing: Standing,
    /// What there is to know besides.
    note: Option<String>,
}

impl Permissions {
    pub(super) fn of(asked: &[Asked], broken: &[(Use, String)], secrets: &Secrets) -> Self {
        let mut targets: Vec<OfTarget> = asked.iter().map(|asked| OfTarget::of(asked, secrets)).collect();
        targets.extend(broken.iter().map(|(used, lacks)| OfTarget {
            error: Some(lacks.clone()),
            ..OfTarget::not_asked(used)
        }));
        targets.sort_by(|a, b| (&a.file, &a.target).cmp(&(&b.file, &b.target)));
        let count = |standing| targets.iter().flat_map(|target| target.of_standing(standing)).count();
        Self {
            missing: count(Standing::Missing),
            excess: count(Standing::Excess),
            targets,
        }
    }
}

impl OfTarget {
    fn of(asked: &Asked, secrets: &Secrets) -> Self {
        let mut rights: Vec<ShownRight> = asked.told.iter().flatten().map(ShownRight::of).collect();
        rights.sort_by_key(|right| right.standing);
        let error = asked.told.as_ref().err();
        Self {
            address: asked.address.clone(),
            notes: asked.notes.clone(),
            error: error.map(|error| secrets.mask(error.message()).into_owned()),
            rights,
            ..Self::not_asked(&asked.used)
        }
    }

    fn not_asked(used: &Use) -> Self {
        Self {
            file: used.file.clone(),
            target: used.target.to_string(),
            provider: used.provider.clone(),
            address: None,
            notes: Vec::new(),
            steps: used.steps.clone(),
            error: None,
            rights: Vec::new(),
        }
    }

    fn of_standing(&self, standing: Standing) -> impl Iterator<Item = &ShownRight> {
        self.rights.iter().filter(move |right| right.standing == standing)
    }
}

impl ShownRight {
    fn of(right: &Right) -> Self {
        Self {
            right: right.right.clone(),
            standing: right.standing,
            note: right.note.clone(),
        }
    }
}

pub(super) fn print(permissions: Permissions, format: Format, ui: &Ui) {
    match format {
        Format::Json => Document::of(permissions).print(ui),
        Format::Human => human(&permissions, ui),
    }
}

fn human(permissions: &Permissions, ui: &Ui) {
    let sheet = ui.sheet();
    for target in &permissions.targets {
        let address = target
            .address
            .as_ref()
            .map_or_else(String::new, |at| format!(" at {at}"));
        let place = format!("{}{address}", target.provider);
        let head = format!("{}  ", ui.paint(Style::Bold, &target.target));
        ui.out_all(&table::hang(&head, &place, sheet));
        put(ui, sheet, "for", None, &target.steps.join(", "));
        for note in &target.notes {
            put(ui, sheet, "NOTE", Some(Style::Yellow), note);
        }
        if let Some(error) = &target.error {
            put(ui, sheet, "NOT ASKED", Some(Style::Red), error);
        }
        for right in &target.rights {
            let text = match &right.note {
                Some(note) => format!("{}: {note}", right.right),
                None => right.right.clone(),
            };
            match right.standing {
                Standing::Missing => put(ui, sheet, "MISSING", Some(Style::Red), &text),
                Standing::Excess => put(ui, sheet, "excess", Some(Style::Yellow), &text),
                Standing::NotAsked => put(ui, sheet, "not asked", Some(Style::Dim), &text),
                Standing::Held => {}
            }
        }
        let held: Vec<&str> = target
            .of_standing(Standing::Held)
            .map(|right| right.right.as_str())
            .collect();
        if !held.is_empty() {
            put(ui, sheet, "held", Some(Style::Green), &held.join("; "));
        }
    }
    let unasked = permissions
        .targets
        .iter()
        .filter(|target| target.error.is_some())
        .count();
    let unasked = match unasked {
        0 => String::new(),
        count => format!("; {count} of {} targets could not be asked", permissions.targets.len()),
    };
    ui.out(format!(
        "{} missing, {} beyond what is needed{unasked}",
        permissions.missing, permissions.excess
    ));
}

fn put(ui: &Ui, sheet: usize, word: &str, style: Option<Style>, text: &str) {
    let padded = format!("{word:<9}");
    let word = style.map_or_else(|| padded.clone(), |style| ui.paint(style, &padded));
    ui.out_all(&table::hang(&format!("  {word}  "), text, sheet));
}
