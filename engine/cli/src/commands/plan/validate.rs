//! `jm plan validate`: all findings of all files at once, offline.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jm_plan::{Arguments, Mode, PlanError};
use jm_step::Registry;

use crate::args::ValidateArgs;
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::project;
use crate::report::findings::{self, Checked};
use crate::ui::Ui;

pub(in crate::commands) fn validate(args: &ValidateArgs, ui: &Ui) -> Outcome {
    let registry = crate::providers::registry();
    let paths = if args.files.is_empty() {
        vec![PathBuf::from("plans")]
    } else {
        args.files.clone()
    };
    let files = project::yaml_files(&paths)?;
    if files.is_empty() {
        return Err(
            CommandError::usage("there is nothing to validate").hint("name plan files, or a directory that holds some")
        );
    }
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        return project::read(missing).map(|_| Exit::Usage);
    }
    let mut checked: Vec<_> = files
        .iter()
        .map(|file| check(file, args.targets.as_deref(), &registry).unwrap_or_else(|error| unreadable(file, &error)))
        .collect();
    say_once(&mut checked);
    findings::print(ui, &checked, args.format, args.strict);
    Ok(match findings::totals(&checked) {
        (0, 0) => Exit::Done,
        (0, _) if !args.strict => Exit::Done,
        _ => Exit::Invalid,
    })
}

/// It, or the targets file that belongs to it.
fn unreadable(file: &Path, error: &CommandError) -> Checked {
    Checked {
        file: file.display().to_string(),
        kind: "plan",
        findings: vec![PlanError::unreadable(&error.message)],
        told_before: 0,
    }
}

fn check(file: &Path, targets: Option<&Path>, registry: &Registry) -> Result<Checked, CommandError> {
    let text = project::read(file)?;
    let name = file.display().to_string();
    let (kind, findings) = if project::is_targets(&text) {
        ("targets", jm_plan::parse_targets(&name, &text).1)
    } else {
        ("plan", check_plan(file, &name, &text, targets, registry)?)
    };
    Ok(Checked {
        file: name,
        kind,
        findings,
        told_before: 0,
    })
}

fn check_plan(
    file: &Path,
    name: &str,
    text: &str,
    targets: Option<&Path>,
    registry: &Registry,
) -> Result<Vec<PlanError>, CommandError> {
    let (document, _) = jm_plan::parse(name, text);
    let targets = match project::targets_for(file, targets) {
        Some(path) => Some(jm_plan::parse_targets(&path.display().to_string(), &project::read(&path)?).0),
        None => None,
    };
    let now = jm_step::clock::now();
    // What parsing found is among what compiling says.
    Ok(
        match jm_plan::compile(
            &document,
            registry,
            &Arguments::none(),
            targets.as_ref(),
            Mode::Validate,
            now,
        ) {
            Ok(compiled) => compiled.warnings,
            Err(errors) => errors.into_errors(),
        },
    )
}

/// What is wrong with a targets file is found by every plan that uses it, and said where it is first found.
fn say_once(checked: &mut [Checked]) {
    let mut said = BTreeSet::new();
    for file in checked.iter_mut().filter(|file| file.kind == "targets") {
        said.extend(file.findings.iter().map(PlanError::to_string));
    }
    for file in checked.iter_mut().filter(|file| file.kind == "plan") {
        let found = file.findings.len();
        file.findings.retain(|finding| {
            let own = finding.place().is_none_or(|place| place.file == file.file);
            own || said.insert(finding.to_string())
        });
        file.told_before = found - file.findings.len();
    }
}
