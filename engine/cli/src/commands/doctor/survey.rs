//! What plans need of which targets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jm_plan::{Arguments, Around, Mode, Plan, TargetsDocument};
use jm_step::{OpenContext, Registry, Rights, Target, TargetName};

use crate::args::DoctorArgs;
use crate::exit::CommandError;
use crate::session::Source;
use crate::ui::Ui;
use crate::{environment, project};

/// A target of which steps need something.
pub(super) struct Use {
    /// The targets file.
    pub(super) file: String,
    pub(super) target: TargetName,
    pub(super) provider: String,
    /// Whether the targets file is protected.
    pub(super) is_protected: bool,
    /// The steps, as `plan/step`.
    pub(super) steps: Vec<String>,
    needed: Rights,
}

impl Use {
    /// What all of the steps need.
    pub(super) fn rights(&self) -> Rights {
        self.needed.clone()
    }
}

/// All targets of which steps of the plans need something.
pub(super) struct Found {
    /// The plan, where it is only one.
    pub(super) plan: Option<String>,
    /// Ready to be opened.
    pub(super) configured: Vec<(Use, Target)>,
    /// Those that the environment does not describe, and what it lacks. Optional ones are none of them.
    pub(super) broken: Vec<(Use, String)>,
}

/// A targets file with what plans need of its targets.
struct Bound {
    document: TargetsDocument,
    repaired: BTreeSet<TargetName>,
    uses: BTreeMap<TargetName, Use>,
}

/// Reads the plans, and puts the environment into the targets that they use.
pub(super) fn take(paths: &[PathBuf], args: &DoctorArgs, cx: &OpenContext, ui: &Ui) -> Result<Found, CommandError> {
    let registry = crate::providers::registry();
    let plans = plans(paths)?;
    let mut bound: BTreeMap<String, Bound> = BTreeMap::new();
    let mut names = Vec::new();
    for file in &plans {
        let source = Source::read(file, args.targets.as_deref())?;
        let plan = source.compile(&registry, &Arguments::none(), Mode::Validate, ui)?;
        names.push(plan.name().to_owned());
        let Some(document) = source.targets else {
            let message = format!("there is no targets file for {}", file.display());
            return Err(CommandError::usage(message).hint("name one with `--targets FILE`"));
        };
        let bound = bound.entry(document.file().to_owned()).or_insert_with(|| Bound {
            document,
            repaired: BTreeSet::new(),
            uses: BTreeMap::new(),
        });
        bound.add(&plan);
    }
    let mut found = Found {
        plan: Some(names.swap_remove(0)).filter(|_| names.is_empty()),
        configured: Vec::new(),
        broken: Vec::new(),
    };
    for bound in bound.into_values() {
        bound.render(args.target.as_deref(), &registry, cx, &mut found);
    }
    match &args.target {
        Some(name) if found.configured.is_empty() && found.broken.is_empty() => Err(CommandError::usage(format!(
            "the plans need nothing of a target `{name}` that is configured"
        ))),
        _ => Ok(found),
    }
}

/// The plans among the files that paths name.
fn plans(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut plans = Vec::new();
    for file in project::yaml_files(paths)? {
        if !project::is_targets(&project::read(&file)?) {
            plans.push(file);
        }
    }
    if plans.is_empty() {
        let nothing = CommandError::usage("there is no plan to look at");
        return Err(nothing.hint("name plan files, or a directory that holds some"));
    }
    Ok(plans)
}

impl Bound {
    fn add(&mut self, plan: &Plan) {
        self.repaired.extend(plan.repairs().iter().cloned());
        let providers: BTreeMap<&TargetName, &str> = self.document.targets().collect();
        for step in plan.all_steps() {
            for need in &step.needs {
                let Some(target) = step.bindings.get(need.role) else {
                    continue;
                };
                let Some(provider) = providers.get(target) else {
                    continue;
                };
                let used = self.uses.entry(target.clone()).or_insert_with(|| Use {
                    file: self.document.file().to_owned(),
                    target: target.clone(),
                    provider: (*provider).to_owned(),
                    is_protected: self.document.is_protected(),
                    steps: Vec::new(),
                    needed: Rights::default(),
                });
                used.needed.add(need);
                let step = format!("{}/{}", plan.name(), step.id);
                if used.steps.last() != Some(&step) {
                    used.steps.push(step);
                }
            }
        }
    }

    /// One by one, so that what one lacks keeps nobody from asking the others.
    fn render(self, only: Option<&str>, registry: &Registry, cx: &OpenContext, found: &mut Found) {
        let around = Around {
            environment: &cx.environment,
            variable: &|name| environment::lookup(&cx.environment, name),
            readable: &environment::readable,
            repaired: &self.repaired,
        };
        let wanted = self
            .uses
            .into_values()
            .filter(|used| only.is_none_or(|only| used.target.as_str() == only));
        for used in wanted {
            match self
                .document
                .render(registry, &BTreeSet::from([used.target.clone()]), &around)
            {
                Ok(mut rendered) => {
                    rendered
                        .secrets
                        .iter()
                        .for_each(|secret| cx.secrets.register(secret.expose()));
                    found
                        .configured
                        .extend(rendered.targets.pop().map(|target| (used, target)));
                }
                Err(errors) => {
                    let lacks: Vec<&str> = errors.errors().iter().map(jm_plan::PlanError::message).collect();
                    found.broken.push((used, lacks.join("; ")));
                }
            }
        }
    }
}
