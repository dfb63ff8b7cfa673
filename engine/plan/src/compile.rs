//! A [`Document`] to a [`Plan`]: everything is looked up and checked, and every problem reported at once.

mod scope;
mod seal;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use jm_step::{AnyStepType, Registry, TargetName};
use miette::SourceSpan;
use serde_json::Value;

use crate::arguments::Arguments;
use crate::check;
use crate::code::Code;
use crate::document::{Document, StepSpec};
use crate::error::{PlanError, PlanErrors, Problems, is_error, sort};
use crate::graph::Draft;
use crate::mask;
use crate::plan::Plan;
use crate::targets::TargetsDocument;
pub(crate) use scope::CompileScope;
pub(crate) use seal::Traits;

/// What counts as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For `jm plan validate`: inputs that are not given, and the whole environment, are unknown values of the right
    /// type.
    Validate,
    /// For a run: what is not given has its default, and what has no default must be given.
    Run,
}

/// A checked plan and what is worth saying about it.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The plan.
    pub plan: Plan,
    /// Warnings and advice, in the order of the file.
    pub warnings: Vec<PlanError>,
}

/// Checks a plan and seals it.
///
/// The errors are all there are, those of [`crate::parse`] and [`crate::parse_targets`] among them, so a caller shows
/// nothing twice by showing only these. Without a targets file nothing is said about targets.
pub fn compile(
    document: &Document,
    registry: &Registry,
    arguments: &Arguments,
    targets: Option<&TargetsDocument>,
    mode: Mode,
    now: Timestamp,
) -> Result<Compiled, PlanErrors> {
    let mut problems = Problems::new(&document.source);
    problems.extend(document.found.iter().cloned());
    problems.extend(targets.into_iter().flat_map(TargetsDocument::found).cloned());
    if document.torn {
        problems.extend(check::secrets::written(&document.source));
        return Err(PlanErrors::new(document.file(), problems.into_found()));
    }
    let work = Work::new(document, registry, arguments, targets, mode, now, &mut problems);
    let bindings = check::targets::check(&work, &mut problems);
    let edges = check::references::check(&work, &bindings, &mut problems);
    let draft = Draft::new(work.main, work.steps.len(), edges);
    check::policy::cycles(&work, &draft, &mut problems);
    let knowns = check::inputs::check(&work, &mut problems);
    check::secrets::check(&work, &mut problems);
    let traits = seal::traits(&work, &knowns);
    check::policy::check(&work, &draft, &traits, &mut problems);
    let mut found = problems.into_found();
    sort(&mut found);
    if document.broken || found.iter().any(is_error) {
        return Err(PlanErrors::new(document.file(), found));
    }
    match seal::seal(&work, &draft, bindings, traits) {
        Some(plan) => {
            mask::secrets(&mut found);
            Ok(Compiled { plan, warnings: found })
        }
        None => Err(PlanErrors::new(document.file(), found)),
    }
}

/// A plan under examination.
pub(crate) struct Work<'a> {
    pub(crate) document: &'a Document,
    pub(crate) registry: &'a Registry,
    pub(crate) targets: Option<&'a TargetsDocument>,
    pub(crate) now: Timestamp,
    pub(crate) scope: CompileScope,
    /// Main steps, then those of `finally`.
    pub(crate) steps: Vec<Draftee<'a>>,
    /// How many of them are main ones.
    pub(crate) main: usize,
    /// Steps by their ids.
    pub(crate) index: HashMap<&'a str, usize>,
}

/// A step under examination.
pub(crate) struct Draftee<'a> {
    pub(crate) spec: &'a StepSpec,
    pub(crate) in_finally: bool,
    pub(crate) step_type: Option<Arc<dyn AnyStepType>>,
    pub(crate) schemas: Option<Arc<Schemas>>,
}

/// What a step type takes and gives.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub(crate) input: Value,
    pub(crate) output: Value,
}

impl Draftee<'_> {
    /// Its id, or how it is called where it has none.
    pub(crate) fn id(&self) -> &str {
        self.spec.id.as_ref().map_or("(no id)", |id| id.value.as_str())
    }

    /// Where it is called by its name.
    pub(crate) fn place(&self) -> SourceSpan {
        let begin = || (self.spec.span.offset(), 0).into();
        self.spec
            .id
            .as_ref()
            .map(|id| id.span)
            .or(self.spec.uses.as_ref().map(|uses| uses.span))
            .unwrap_or_else(begin)
    }
}

impl<'a> Work<'a> {
    fn new(
        document: &'a Document,
        registry: &'a Registry,
        arguments: &'a Arguments,
        targets: Option<&'a TargetsDocument>,
        mode: Mode,
        now: Timestamp,
        problems: &mut Problems,
    ) -> Self {
        let spec = &document.plan;
        let mut cache = HashMap::new();
        let mut drafted = |spec: &'a StepSpec, in_finally| draftee(spec, in_finally, registry, &mut cache, problems);
        let mut steps: Vec<_> = spec.steps.iter().map(|step| drafted(step, false)).collect();
        steps.extend(spec.finally.iter().map(|step| drafted(step, true)));
        let mut index = HashMap::new();
        for (number, step) in steps.iter().enumerate() {
            if let Some(id) = &step.spec.id {
                index.entry(id.value.as_str()).or_insert(number);
            }
        }
        Self {
            document,
            registry,
            targets,
            now,
            scope: CompileScope::new(document, arguments, mode, problems),
            main: spec.steps.len(),
            steps,
            index,
        }
    }

    /// The ids of the steps that one at this place may name.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.steps
            .iter()
            .filter_map(|step| step.spec.id.as_ref())
            .map(|id| id.value.as_str())
    }
}

fn draftee<'a>(
    spec: &'a StepSpec,
    in_finally: bool,
    registry: &Registry,
    cache: &mut HashMap<&'static str, Arc<Schemas>>,
    problems: &mut Problems,
) -> Draftee<'a> {
    let step_type = spec.uses.as_ref().and_then(|uses| {
        let found = registry.get(&uses.value).cloned();
        if found.is_none() {
            problems.push(unknown_step_type(&uses.value, uses.span, registry));
        }
        found
    });
    let schemas = step_type.as_ref().map(|step_type| {
        let schemas = cache.entry(step_type.name()).or_insert_with(|| {
            Arc::new(Schemas {
                input: step_type.input_schema(),
                output: step_type.output_schema(),
            })
        });
        schemas.clone()
    });
    Draftee {
        spec,
        in_finally,
        step_type,
        schemas,
    }
}

fn unknown_step_type(name: &str, at: SourceSpan, registry: &Registry) -> PlanError {
    let known: Vec<&str> = registry.step_types().map(|step_type| step_type.name()).collect();
    let prefix = name.split('.').next().unwrap_or(name);
    let same: Vec<&str> = known
        .iter()
        .copied()
        .filter(|other| other.split('.').next() == Some(prefix))
        .collect();
    let help = match crate::parse::did_you_mean(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if !same.is_empty() => crate::parse::suggestion(name, same, &format!("`{prefix}` has")),
        None => "`jm step list` shows all step types".to_owned(),
    };
    PlanError::at(Code::UnknownStepType, at, format!("there is no step type `{name}`")).help(help)
}

/// A step's targets, by role.
pub(crate) type Bindings = BTreeMap<String, TargetName>;
