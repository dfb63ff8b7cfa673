//! `jm backup import`: plain files of earlier backups of objects, taken into the catalogue. It makes backups, so it is a
//! run of its step type, with a journal and a resume.

use serde_json::Value;

use crate::args::{BackupImportArgs, StepRunArgs};
use crate::commands::{Outcome, step};
use crate::exit::CommandError;
use crate::project;
use crate::ui::Ui;

/// The step type that does it.
const STEP_TYPE: &str = "kubernetes.import";

pub(in crate::commands) fn import(args: &BackupImportArgs, ui: &Ui) -> Outcome {
    step::run::run(&step_run(args)?, ui)
}

/// The words of `jm step run` that this import stands for.
fn step_run(args: &BackupImportArgs) -> Result<StepRunArgs, CommandError> {
    // By their whole paths, so that a resume finds them wherever it is started.
    let files: Result<Vec<_>, _> = args.files.iter().map(|file| project::absolute(file)).collect();
    let mut with = vec![format!("files={}", Value::from(files?))];
    // In quotes: a day is text that reads as a number.
    with.extend(args.day.iter().map(|day| format!("day={}", Value::from(day.as_str()))));
    Ok(StepRunArgs {
        step_type: STEP_TYPE.to_owned(),
        with,
        target: args.at.target.clone(),
        targets: args.at.targets.clone(),
        dry_run: args.dry_run,
        options: args.options.clone(),
        format: args.format,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments as Words, BackupCommand, Command};

    #[test]
    fn it_stands_for_a_run_of_the_step_type() {
        let words = [
            "jm",
            "backup",
            "import",
            "/b/k8s-backup.yaml",
            "--day",
            "20240115",
            "--yes",
        ];
        let command = Words::try_parse_from(words).expect("words of jm").command;
        let Command::Backup(BackupCommand::Import(args)) = command else {
            unreachable!("it is an import")
        };
        let run = step_run(&args).expect("a run");
        assert_eq!(run.with, [r#"files=["/b/k8s-backup.yaml"]"#, r#"day="20240115""#]);
        assert!(run.options.yes && !run.dry_run);
        assert!(crate::providers::registry().get(&run.step_type).is_some());
    }
}
