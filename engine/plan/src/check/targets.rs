//! Which targets a step uses: one for each role of its step type.

use jm_step::{Role, TargetName};

use crate::code::Code;
use crate::compile::{Bindings, Draftee, Work};
use crate::error::{PlanError, Problems};
use crate::parse::suggestion;
use crate::span::Spanned;
use crate::targets::TargetsDocument;

/// Binds all steps.
pub(crate) fn check(work: &Work<'_>, problems: &mut Problems) -> Vec<Bindings> {
    work.steps
        .iter()
        .map(|step| Binder { work, step, problems }.bind())
        .collect()
}

struct Binder<'a, 'w, 'p> {
    work: &'a Work<'w>,
    step: &'a Draftee<'w>,
    problems: &'p mut Problems,
}

impl Binder<'_, '_, '_> {
    fn bind(mut self) -> Bindings {
        let Some(step_type) = &self.step.step_type else {
            return Bindings::new();
        };
        let roles = step_type.roles();
        let mut bindings = self.named(&roles);
        for role in &roles {
            if bindings.contains_key(role.name) {
                continue;
            }
            if let Some(target) = self.only(role, &roles) {
                bindings.insert(role.name.to_owned(), target);
            }
        }
        bindings
    }

    /// What `target` and `targets` say.
    fn named(&mut self, roles: &[Role]) -> Bindings {
        let mut bindings = Bindings::new();
        for (role, target) in &self.step.spec.targets {
            match roles.iter().find(|known| known.name == role.value) {
                Some(known) => {
                    self.fits(known, target);
                    bindings.insert(role.value.clone(), target.value.clone());
                }
                None => self.unknown_role(role, roles),
            }
        }
        if let Some(target) = &self.step.spec.target {
            if let Some(role) = self.role_for(target, roles) {
                self.fits(&role, target);
                bindings.insert(role.name.to_owned(), target.value.clone());
            }
        }
        bindings
    }

    fn unknown_role(&mut self, role: &Spanned<String>, roles: &[Role]) {
        let uses = self.step.spec.uses.as_ref().map_or("", |uses| uses.value.as_str());
        let message = format!("`{uses}` has no role `{}`", role.value);
        let help = suggestion(&role.value, roles.iter().map(|role| role.name), "its roles are");
        self.problems
            .push(PlanError::at(Code::WrongTarget, role.span, message).help(help));
    }

    /// The role that `target:` means: the only one, or the only one of the target's provider.
    fn role_for(&mut self, target: &Spanned<TargetName>, roles: &[Role]) -> Option<Role> {
        if let [only] = roles {
            return Some(*only);
        }
        let provider = self.provider(target).map(str::to_owned);
        let fitting: Vec<&Role> = roles
            .iter()
            .filter(|role| provider.as_deref() == Some(role.provider))
            .collect();
        if let [only] = fitting.as_slice() {
            return Some(**only);
        }
        let uses = self.step.spec.uses.as_ref().map_or("", |uses| uses.value.as_str());
        let error = if roles.is_empty() {
            PlanError::at(Code::WrongTarget, target.span, format!("`{uses}` uses no target")).help("remove `target`")
        } else if self.work.targets.is_some() && provider.is_none() {
            self.unknown_target(target)
        } else {
            let names: Vec<&str> = roles.iter().map(|role| role.name).collect();
            PlanError::at(Code::WrongTarget, target.span, format!("`{uses}` uses several targets")).help(format!(
                "say which one this is: `targets: {{ {}: {} }}`",
                names.join(" | "),
                target.value
            ))
        };
        self.problems.push(error);
        None
    }

    fn provider(&self, target: &Spanned<TargetName>) -> Option<&str> {
        let spec = self.work.targets?.target(target.value.as_str())?;
        Some(&spec.provider.value)
    }

    /// Reports a target that is not there or of another provider.
    fn fits(&mut self, role: &Role, target: &Spanned<TargetName>) {
        let Some(targets) = self.work.targets else { return };
        let error = match targets.target(target.value.as_str()) {
            None => self.unknown_target(target),
            Some(spec) if spec.provider.value != role.provider => {
                let message = format!(
                    "target `{}` is of provider `{}`, and the role `{}` takes one of `{}`",
                    target.value, spec.provider.value, role.name, role.provider
                );
                let others = of_provider(targets, role.provider);
                PlanError::at(Code::WrongTarget, target.span, message).help(suggestion(
                    target.value.as_str(),
                    others.iter().map(|name| name.as_str()),
                    &format!("targets of `{}` are", role.provider),
                ))
            }
            Some(_) => return,
        };
        self.problems.push(error);
    }

    fn unknown_target(&self, target: &Spanned<TargetName>) -> PlanError {
        let known = self
            .work
            .targets
            .into_iter()
            .flat_map(|targets| targets.targets().map(|(name, _)| name.as_str()));
        PlanError::at(
            Code::UnknownTarget,
            target.span,
            format!("there is no target `{}`", target.value),
        )
        .help(suggestion(target.value.as_str(), known, "the targets are"))
    }

    /// The one target of a role's provider, where a step names none.
    fn only(&mut self, role: &Role, roles: &[Role]) -> Option<TargetName> {
        let targets = self.work.targets?;
        let candidates = unnamed(targets, role.provider);
        let at = self
            .step
            .spec
            .uses
            .as_ref()
            .map_or_else(|| self.step.place(), |uses| uses.span);
        let uses = self.step.spec.uses.as_ref().map_or("", |uses| uses.value.as_str());
        match candidates.as_slice() {
            [only] if !targets.is_by_name(only) => return Some((*only).clone()),
            [] if targets.is_broken() => {}
            [] => {
                let message = format!(
                    "`{uses}` uses a system of `{}`, and `{}` has none",
                    role.provider,
                    targets.file()
                );
                let help = format!("add a target with `provider: {}` to it", role.provider);
                self.problems
                    .push(PlanError::at(Code::NoTarget, at, message).help(help));
            }
            several => {
                let names: Vec<String> = several.iter().map(|name| format!("`{name}`")).collect();
                let message = match names.split_last()? {
                    (only, []) => format!("`{uses}` can use {only}, which is used only where it is named"),
                    (last, before) => format!("`{uses}` can use {} or {last}", before.join(", ")),
                };
                let first = several.first()?;
                let help = if roles.len() == 1 {
                    format!("say which: `target: {first}`")
                } else {
                    format!("say which: `targets: {{ {}: {first} }}`", role.name)
                };
                self.problems
                    .push(PlanError::at(Code::AmbiguousTarget, at, message).help(help));
            }
        }
        None
    }
}

/// What a role may get by its provider alone. Where that is nothing, what could be named is.
fn unnamed<'t>(targets: &'t TargetsDocument, provider: &str) -> Vec<&'t TargetName> {
    let all = of_provider(targets, provider);
    let open: Vec<&TargetName> = all.iter().copied().filter(|name| !targets.is_by_name(name)).collect();
    if open.is_empty() { all } else { open }
}

fn of_provider<'t>(targets: &'t TargetsDocument, provider: &str) -> Vec<&'t TargetName> {
    targets
        .targets()
        .filter(|(_, of)| *of == provider)
        .map(|(name, _)| name)
        .collect()
}
