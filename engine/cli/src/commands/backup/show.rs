//! `jm backup show`: what is known of a backup, whatever kind it is.

use jm_backup::{Manifest, Row};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{BackupShowArgs, Format};
use crate::commands::{Outcome, block_on};
use crate::exit::Exit;
use crate::report::document::Document;
use crate::report::{table, time};
use crate::ui::{Style, Ui};

/// Parts of a manifest that are said already, or are for jm alone.
const LEFT_OUT: [&str; 6] = ["format", "name", "created_at", "key", "level", "idempotency_key"];

/// What is known of a backup.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct BackupShow {
    /// As a list shows it; none where it went away meanwhile.
    backup: Option<Row>,
    /// None where it has none, or another key than ours opens it.
    manifest: Option<Manifest>,
}

pub(in crate::commands) fn show(args: &BackupShowArgs, ui: &Ui) -> Outcome {
    block_on(async {
        let opened = super::open(&args.which.at, ui).await?;
        let entry = opened.find(&args.which.backup).await?;
        let mut catalogue = opened.backups.catalogue().await?;
        catalogue.entries.retain(|one| one.name == entry.name);
        let row = opened.backups.rows(&catalogue, jm_step::clock::now()).pop();
        let manifest = entry.manifest();
        match args.format {
            Format::Json => {
                let manifest = manifest.cloned();
                Document::of(BackupShow { backup: row, manifest }).print(ui);
            }
            Format::Human => {
                ui.out(ui.paint(Style::Bold, entry.name.as_str()));
                if let Some(row) = row {
                    let level = match &row.problem {
                        Some(problem) => format!("{}: {}", row.level, ui.paint(Style::Red, problem)),
                        None => row.level.clone(),
                    };
                    say(
                        "data of",
                        &format!("{}, {} old", row.created_at, super::age(row.age_seconds)),
                        ui,
                    );
                    say("proven", &level, ui);
                    say("key", row.key_id.as_deref().unwrap_or("not known"), ui);
                }
                for copy in &entry.copies {
                    say(&format!("copy in {}", copy.location), &time::bytes(copy.bytes), ui);
                }
                human(&json!(manifest), ui);
            }
        }
        Ok(Exit::Done)
    })?
}

fn say(name: &str, text: &str, ui: &Ui) {
    ui.out_hanging(&format!("  {name:<18} "), text);
}

/// Every part of the manifest: single values as lines, lists and maps as tables.
fn human(manifest: &Value, ui: &Ui) {
    let Some(parts) = manifest.as_object() else { return };
    let mut tables = Vec::new();
    for (name, part) in parts.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
        match part {
            Value::Object(inner) => {
                for (inner_name, value) in inner {
                    match value {
                        Value::Object(rows) if !rows.is_empty() => tables.push((inner_name, rows)),
                        Value::Object(_) => {}
                        value => line(&format!("{name} {inner_name}"), value, ui),
                    }
                }
            }
            value => line(name, value, ui),
        }
    }
    for (name, rows) in tables {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|(name, value)| vec![name.clone(), plain(value)])
            .collect();
        ui.out("");
        let heading = name.replace('_', " ").to_uppercase();
        ui.out_all(&table::flowing(&[&heading, ""], &rows, ui.page()));
    }
}

fn line(name: &str, value: &Value, ui: &Ui) {
    let text = plain(value);
    if !text.is_empty() {
        say(&name.replace('_', " "), &text, ui);
    }
}

/// A value as people read it; nothing for what is empty.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name, plain(value)));
            let told = fields.filter(|(_, text)| !text.is_empty());
            told.map(|(name, text)| format!("{} {text}", name.replace('_', " ")))
                .collect::<Vec<_>>()
                .join(", ")
        }
        other => other.to_string(),
    }
}
