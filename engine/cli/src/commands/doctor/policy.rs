//! The least that targets have to give, as text that an administrator applies.

use jm_step::{OpenContext, Policy, PolicyForm};
use schemars::JsonSchema;
use serde::Serialize;

use super::open;
use super::survey::Found;
use crate::args::Format;
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::report::document::Document;
use crate::ui::Ui;

/// Policies that give what steps need, and nothing else.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct Policies {
    policies: Vec<OfTarget>,
}

/// The policy for a target's credentials.
#[derive(Debug, Serialize, JsonSchema)]
struct OfTarget {
    /// The targets file.
    file: String,
    target: String,
    /// The steps that need it, as `plan/step`.
    steps: Vec<String>,
    form: PolicyForm,
    text: String,
}

pub(super) async fn print(found: &Found, format: Format, cx: &OpenContext, ui: &Ui) -> Outcome {
    if let Some((used, lacks)) = found.broken.first() {
        return Err(CommandError::new(
            Exit::Invalid,
            format!("target `{}`: {lacks}", used.target),
        ));
    }
    // Accounts are named after what they are for.
    let account = found
        .plan
        .as_ref()
        .map_or_else(|| "jm".to_owned(), |plan| format!("jm-{plan}"));
    let mut policies = Vec::new();
    for (used, target) in &found.configured {
        let about = |error: jm_step::StepError| error.context(format_args!("target `{}`", used.target));
        let connection = open(target, cx).await.map_err(about)?;
        let policy = connection.policy(&used.rights(), &account).await.map_err(about)?;
        policies.extend(policy.map(|Policy { form, text }| OfTarget {
            file: used.file.clone(),
            target: used.target.to_string(),
            steps: used.steps.clone(),
            form,
            text,
        }));
    }
    match format {
        Format::Json => Document::of(Policies { policies }).print(ui),
        Format::Human => policies.iter().for_each(|policy| policy.show(ui)),
    }
    Ok(Exit::Done)
}

impl OfTarget {
    /// The text as it is, so that it can be applied; what it is about stands beside it.
    fn show(&self, ui: &Ui) {
        let form = match self.form {
            PolicyForm::Iam => "a policy of AWS IAM",
            PolicyForm::Rbac => "for `kubectl apply -f -`",
            PolicyForm::Sql => "for psql",
        };
        ui.say_hanging(
            &format!("{}: ", self.target),
            &format!("{form}, for {}", self.steps.join(", ")),
        );
        ui.out(self.text.trim_end());
    }
}
