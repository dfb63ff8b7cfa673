//! What is known before a plan runs: the inputs that are given, and the objectives.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Mode;
use crate::arguments::Arguments;
use crate::code::Code;
use crate::document::{Document, InputType};
use crate::error::{PlanError, Problems};
use crate::plan::{Objectives, objectives_value};
use crate::template::{Found, Lookup, Reference, Root, found};

/// Everything that expressions can name, as far as it is known before the run.
pub(crate) struct CompileScope {
    /// The inputs whose values are known.
    pub(crate) inputs: Map<String, Value>,
    /// Secret inputs that were given or have a default: references.
    pub(crate) secrets: BTreeMap<String, String>,
    objectives: Value,
}

impl CompileScope {
    pub(super) fn new(document: &Document, arguments: &Arguments, mode: Mode, problems: &mut Problems) -> Self {
        let mut scope = Self {
            inputs: arguments.values.clone(),
            secrets: arguments.secrets.clone(),
            objectives: objectives_value(objectives(document)),
        };
        if mode == Mode::Run {
            scope.complete(document, problems);
        }
        scope
    }

    /// Takes defaults for what was not given, and reports what has none.
    fn complete(&mut self, document: &Document, problems: &mut Problems) {
        for input in &document.plan.inputs {
            let name = &input.name.value;
            if self.inputs.contains_key(name) || self.secrets.contains_key(name) {
                continue;
            }
            match (&input.default, input.kind) {
                (Some(default), InputType::Secret) => {
                    if let Some(reference) = default.value.as_str() {
                        self.secrets.insert(name.clone(), reference.to_owned());
                    }
                }
                (Some(default), _) => {
                    self.inputs.insert(name.clone(), default.value.clone());
                }
                (None, kind) => {
                    let message = format!("the input `{name}` was not given");
                    let error = PlanError::at(Code::MissingArgument, input.name.span, message);
                    let value = if kind == InputType::Secret {
                        "env:VARIABLE"
                    } else {
                        "VALUE"
                    };
                    problems.push(
                        error
                            .label("declared here, without a default")
                            .help(format!("add `-i {name}={value}`")),
                    );
                }
            }
        }
    }
}

pub(super) fn objectives(document: &Document) -> Objectives {
    let spec = &document.plan.objectives;
    Objectives {
        rto: spec.rto.map(|rto| rto.value),
        rpo: spec.rpo.map(|rpo| rpo.value),
    }
}

impl Lookup for CompileScope {
    fn find(&self, reference: &Reference) -> Found {
        match reference.root {
            Root::Inputs => match self.inputs.get(reference.name()) {
                Some(value) => found(value, reference.fields().skip(1)),
                None => Found::Unknown(BTreeSet::new()),
            },
            Root::Objectives => found(&self.objectives, reference.fields()),
            Root::Steps => Found::Unknown(reference.step().and_then(|id| id.parse().ok()).into_iter().collect()),
            Root::Run | Root::Env => Found::Unknown(BTreeSet::new()),
        }
    }
}
