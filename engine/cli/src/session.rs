//! From files and words to something that can run: the plan, its targets, its secrets.

use std::path::{Path, PathBuf};

use jm_plan::{Arguments, Document, Given, InputSpec, Mode, Plan, PlanErrors, TargetsDocument};
use jm_step::Registry;

use crate::args::Bindings;
use crate::exit::{CommandError, Exit};
use crate::project;
use crate::report::findings::{self, Checked};
use crate::ui::Ui;

/// A plan file and its targets file, read and parsed.
pub(crate) struct Source {
    /// The plan.
    pub(crate) document: Document,
    /// The targets, where there is a file.
    pub(crate) targets: Option<TargetsDocument>,
}

impl Source {
    /// Reads a plan and the targets file that is named or lies beside it.
    pub(crate) fn read(plan: &Path, targets: Option<&Path>) -> Result<Self, CommandError> {
        let text = project::read(plan)?;
        if project::is_targets(&text) {
            return Err(
                CommandError::usage(format!("{} is a targets file, not a plan", plan.display()))
                    .hint(format!("name a plan, and this one with `--targets {}`", plan.display())),
            );
        }
        Self::of(&plan.display().to_string(), &text, project::targets_for(plan, targets))
    }

    /// A plan whose text is at hand.
    pub(crate) fn of(name: &str, text: &str, targets: Option<PathBuf>) -> Result<Self, CommandError> {
        let targets = match targets {
            Some(path) => Some(jm_plan::parse_targets(&path.display().to_string(), &project::read(&path)?).0),
            None => None,
        };
        Ok(Self {
            document: jm_plan::parse(name, text).0,
            targets,
        })
    }

    /// What the plan can be given.
    pub(crate) fn inputs(&self) -> &[InputSpec] {
        &self.document.spec().inputs
    }

    /// The values that were given on the command line.
    pub(crate) fn arguments(&self, bindings: &Bindings, ui: &Ui) -> Result<Arguments, CommandError> {
        let file = match &bindings.inputs_file {
            Some(path) => Some((path.display().to_string(), project::read(path)?)),
            None => None,
        };
        let from_file = file.iter().map(|(name, text)| Given::File { name, text });
        let pairs = bindings.inputs.iter().map(|pair| Given::Pair(pair));
        Arguments::parse(&self.document, from_file.chain(pairs)).map_err(|errors| say(errors, "plan", ui))
    }

    /// Checks and seals the plan. What is wrong is said before this returns.
    pub(crate) fn compile(
        &self,
        registry: &Registry,
        arguments: &Arguments,
        mode: Mode,
        ui: &Ui,
    ) -> Result<Plan, CommandError> {
        let now = jm_step::clock::now();
        let compiled = jm_plan::compile(&self.document, registry, arguments, self.targets.as_ref(), mode, now);
        compiled
            .map(|compiled| compiled.plan)
            .map_err(|errors| say(errors, "plan", ui))
    }
}

/// Findings about what a run is given, which `jm plan validate` does not look at.
const GIVEN: [&str; 4] = [
    "jm::plan::unreadable",
    "jm::plan::missing_argument",
    "jm::plan::missing_variable",
    "jm::plan::malformed_variable",
];

/// Says every finding about a plan or a targets file, and gives the error that ends the command.
pub(crate) fn say(errors: PlanErrors, kind: &'static str, ui: &Ui) -> CommandError {
    findings::explain(ui, errors.errors());
    let mut error = CommandError::new(Exit::Invalid, errors.to_string());
    let of_the_files = |found: &jm_plan::PlanError| !GIVEN.contains(&found.code());
    if errors.errors().iter().any(of_the_files) {
        error = error.hint("`jm plan validate` checks without running");
    }
    error.findings = Some(Box::new(Checked {
        file: errors.name().to_owned(),
        kind,
        findings: errors.into_errors(),
        told_before: 0,
    }));
    error
}
