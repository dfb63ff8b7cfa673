//! `jm backup list`: all backups of all locations that answer, newest first.

use jm_backup::{Broken, LocationName, Row};
use jm_step::ErrorSummary;
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{BackupListArgs, Format};
use crate::commands::{Outcome, block_on};
use crate::exit::Exit;
use crate::report::document::Document;
use crate::report::{table, time};
use crate::ui::Ui;

/// A column: its heading, how wide the terminal has to be for it, and what stands in it.
type Column = (&'static str, usize, fn(&Row) -> String);

/// What is narrow goes without what is only nice to know; the last column gives way.
const COLUMNS: [Column; 9] = [
    ("BACKUP", 0, |row| row.name.clone()),
    ("DATA OF", 130, |row| row.created_at.clone()),
    ("AGE", 0, |row| super::age(row.age_seconds)),
    ("SIZE", 0, |row| time::bytes(row.bytes)),
    ("LEVEL", 0, |row| row.level.clone()),
    ("WHERE", 90, places),
    ("SERVER", 130, |row| row.server_version.clone().unwrap_or_default()),
    ("KEY", 130, |row| row.key_id.clone().unwrap_or_default()),
    ("NOTE", 100, note),
];

/// The backups of a target.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct BackupList {
    /// Newest first.
    backups: Vec<Row>,
    /// Locations that do not answer: what lies only there is missing above.
    down: Vec<DownLocation>,
    /// Backups that are not as later ones found them: gone before their time, or with another manifest or none.
    broken: Vec<Broken>,
}

/// A location that does not answer.
#[derive(Debug, Serialize, JsonSchema)]
struct DownLocation {
    location: LocationName,
    /// Why.
    error: ErrorSummary,
}

pub(in crate::commands) fn list(args: &BackupListArgs, ui: &Ui) -> Outcome {
    block_on(async {
        let opened = super::open(&args.at, ui).await?;
        let catalogue = opened.backups.catalogue().await?;
        let rows = opened.backups.rows(&catalogue, jm_step::clock::now());
        match args.format {
            Format::Json => {
                let down = catalogue.down.iter().map(|(location, error)| DownLocation {
                    location: *location,
                    error: error.summary(),
                });
                let down = down.collect();
                let broken = catalogue.broken.clone();
                Document::of(BackupList {
                    backups: rows,
                    down,
                    broken,
                })
                .print(ui);
            }
            Format::Human if rows.is_empty() => {
                ui.say("there are no backups yet; `jm step run backup.create` makes one");
            }
            Format::Human => human(&rows, ui),
        }
        for (location, error) in &catalogue.down {
            ui.warn(format!("backup location {location} does not answer: {error}"));
        }
        for broken in &catalogue.broken {
            ui.warn(format!("{broken}"));
        }
        Ok(if catalogue.down.is_empty() && catalogue.broken.is_empty() {
            Exit::Done
        } else {
            Exit::Degraded
        })
    })?
}

fn human(rows: &[Row], ui: &Ui) {
    let width = ui.page();
    let columns: Vec<&Column> = COLUMNS.iter().filter(|(_, least, _)| *least <= width).collect();
    let headings: Vec<&str> = columns.iter().map(|(heading, ..)| *heading).collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| columns.iter().map(|(.., cell)| cell(row)).collect())
        .collect();
    ui.out_all(&table::render(&headings, &cells, width));
}

fn places(row: &Row) -> String {
    let places: Vec<&str> = row.locations.iter().map(|location| location.as_str()).collect();
    places.join(",")
}

/// What is wrong with it comes before what is said of it.
fn note(row: &Row) -> String {
    let label = row.label.iter().cloned();
    let pin = row.pin_until.iter().map(|until| format!("kept until {until}"));
    row.problem
        .iter()
        .cloned()
        .chain(label)
        .chain(pin)
        .collect::<Vec<_>>()
        .join("; ")
}
