//! For the tests: small step types with the inputs and outputs of the real ones, and findings as people see them.

mod page;

use std::fmt::Write as _;

use jiff::Timestamp;
use jm_step::{Effect, InputIssue, Known, Provider, Registry, Repeat, Secret};
use miette::{GraphicalReportHandler, GraphicalTheme};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Arguments, Compiled, Mode, PlanError, PlanErrors, compile, parse, parse_targets};

pub(crate) use page::{PLAN as PAGE_PLAN, TARGETS as PAGE_TARGETS, registry as page_registry};

/// A step type that is only looked at.
#[macro_export]
macro_rules! fake_step {
    ($type:ident, $name:literal, $effect:ident, $repeat:ident, gate: $gate:literal, roles: [$($role:literal: $provider:literal),*], $input:ty => $output:ty $(, { $($more:item)* })?) => {
        pub(crate) struct $type;
        impl jm_step::StepType for $type {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = concat!("what `", $name, "` does");
            const EFFECT: jm_step::Effect = jm_step::Effect::$effect;
            const REPEAT: jm_step::Repeat = jm_step::Repeat::$repeat;
            const GATE: bool = $gate;
            type Input = $input;
            type Output = $output;
            fn roles(&self) -> Vec<jm_step::Role> {
                vec![$(jm_step::Role { name: $role, provider: $provider }),*]
            }
            $($($more)*)?
            async fn preview(&self, _: &jm_step::ReadContext, _: &$input) -> Result<jm_step::Preview<$output>, jm_step::StepError> {
                Ok(jm_step::Preview::declared("looked at only"))
            }
            async fn run(&self, _: &jm_step::StepContext, _: $input) -> Result<$output, jm_step::StepError> {
                Err(jm_step::StepError::failed("looked at only"))
            }
            async fn probe(&self, _: &jm_step::ReadContext, _: &$input) -> Result<jm_step::Probe<$output>, jm_step::StepError> {
                Ok(jm_step::Probe::NotStarted)
            }
        }
    };
}

/// A system that is only looked at.
#[macro_export]
macro_rules! fake_connection {
    ($type:ident, $provider:literal, $config:ty $(, { $($more:item)* })?) => {
        pub(crate) struct $type;
        impl jm_step::Connection for $type {
            const PROVIDER: &'static str = $provider;
            type Config = $config;
            type Reader = Self;
            $($($more)*)?
            fn open(
                _: $config,
                _: &jm_step::OpenContext,
            ) -> impl std::future::Future<Output = Result<Self, jm_step::StepError>> + Send {
                async { Ok(Self) }
            }
            async fn ping(&self) -> Result<(), jm_step::StepError> {
                Ok(())
            }
            async fn identity(&self) -> Result<jm_step::Identity, jm_step::StepError> {
                Ok(jm_step::Identity::single("test"))
            }
            fn reader(&self) -> &Self {
                self
            }
        }
    };
}

/// What to bring back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mood {
    /// In a good one.
    Merry,
    /// In a bad one.
    Sad,
}

/// How to go there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Way {
    /// On foot.
    Foot {
        /// How far, in kilometres.
        #[expect(dead_code, reason = "read by its schema only")]
        kilometres: u32,
    },
    /// With a ticket.
    Train {
        /// Which one.
        #[expect(dead_code, reason = "read by its schema only")]
        ticket: String,
    },
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by its schema only")]
pub(crate) struct LookInput {
    /// What to say.
    message: Option<String>,
    /// How often.
    #[schemars(range(min = 1, max = 9))]
    times: Option<u32>,
    /// Whether loudly.
    loud: Option<bool>,
    /// To whom.
    names: Option<Vec<String>>,
    /// In which mood.
    mood: Option<Mood>,
    /// How to go there.
    way: Option<Way>,
    /// What opens the door.
    password: Option<Secret>,
    /// A script.
    #[schemars(extend("x-jm-literal" = true))]
    script: Option<String>,
    /// Variables of the script.
    env: Option<std::collections::BTreeMap<String, Secret>>,
    /// Anything.
    anything: Option<serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LookOutput {
    /// What was found.
    found: String,
    /// How many.
    count: u32,
    /// Which ones.
    names: Vec<String>,
    /// Whether it was there.
    present: bool,
    /// What else.
    details: Option<Details>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Details {
    /// How large, in bytes.
    size: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by its schema only")]
pub(crate) struct WriteInput {
    /// Where to write.
    #[schemars(length(min = 1))]
    path: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Nothing {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunInput {
    /// The program and its arguments.
    argv: Vec<String>,
    /// Whether it only looks.
    #[serde(default)]
    #[expect(dead_code, reason = "read by its schema only")]
    read_only: bool,
}

crate::fake_step!(Look, "test.look", ReadOnly, Safe, gate: false, roles: [], LookInput => LookOutput);
crate::fake_step!(Write, "test.write", Reversible, Safe, gate: false, roles: ["store": "store"], WriteInput => LookOutput);
crate::fake_step!(Copy, "test.copy", Reversible, Probe, gate: false, roles: ["source": "store", "place": "place"], WriteInput => Nothing);
crate::fake_step!(Burn, "test.burn", Irreversible, Probe, gate: false, roles: [], Nothing => Nothing);
crate::fake_step!(Verify, "test.verify", ReadOnly, Safe, gate: true, roles: [], Nothing => Nothing);
crate::fake_step!(Run, "test.run", Irreversible, Probe, gate: false, roles: [], RunInput => serde_json::Value, {
    fn check(&self, input: &RunInput) -> Result<(), Vec<InputIssue>> {
        if input.argv.is_empty() {
            return Err(vec![InputIssue::at("/argv", "no program is named").help("write `argv: [program, argument]`")]);
        }
        Ok(())
    }
    fn effect(&self, input: &Known) -> Effect {
        if input.get("read_only") == Some(&true.into()) { Effect::ReadOnly } else { Effect::Irreversible }
    }
    fn repeat(&self, input: &Known) -> Repeat {
        if input.get("read_only") == Some(&true.into()) { Repeat::Safe } else { Repeat::Probe }
    }
});

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "most of it is read by its schema only")]
pub(crate) struct StoreConfig {
    /// Where it is.
    url: Secret,
    /// How many days things are kept.
    #[serde(default)]
    #[schemars(range(min = 1))]
    days: Option<u32>,
    /// Whether it is used.
    #[serde(default)]
    enabled: bool,
    /// Its members.
    #[serde(default)]
    members: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by its schema only")]
pub(crate) struct PlaceConfig {
    /// Which one.
    name: String,
}

crate::fake_connection!(Store, "store", StoreConfig, {
    fn check(config: &StoreConfig, around: &jm_step::Environment) -> Vec<InputIssue> {
        let sound = config.url.expose() != "bad" && around.get("STORE_ZONE") != Some("bad");
        let issue = || InputIssue::at("/url", "it has no scheme").help("write `x://host`");
        (!sound).then(issue).into_iter().collect()
    }
});
crate::fake_connection!(Place, "place", PlaceConfig);

/// The step types of most tests.
pub(crate) fn registry() -> Registry {
    let test = Provider::new("test")
        .step(Look)
        .step(Write)
        .step(Copy)
        .step(Burn)
        .step(Verify)
        .step(Run);
    Registry::new()
        .with(test)
        .with(Provider::of::<Store>())
        .with(Provider::of::<Place>())
}

/// A moment after every date in the tests.
pub(crate) fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().expect("a time")
}

/// A plan with these steps (and whatever else), compiled for validation without targets.
pub(crate) fn compiled(text: &str) -> Result<Compiled, PlanErrors> {
    compiled_with(text, None, Mode::Validate, &registry())
}

pub(crate) fn compiled_with(
    text: &str,
    targets: Option<&str>,
    mode: Mode,
    registry: &Registry,
) -> Result<Compiled, PlanErrors> {
    let (document, _) = parse("plan.yaml", text);
    let targets = targets.map(|text| parse_targets("targets.yaml", text).0);
    compile(&document, registry, &Arguments::none(), targets.as_ref(), mode, now())
}

/// A plan file around these lines.
pub(crate) fn plan(rest: &str) -> String {
    format!("apiVersion: jm/v1\nname: test\n{rest}")
}

/// A targets file around these lines.
pub(crate) fn targets(rest: &str) -> String {
    format!("apiVersion: jm/v1\nkind: Targets\nname: here\n{rest}")
}

/// Every finding about a plan, as people see them.
pub(crate) fn findings(rest: &str) -> String {
    shown(compiled(&plan(rest)))
}

/// The same beside a targets file.
pub(crate) fn findings_with(rest: &str, others: &str) -> String {
    shown(compiled_with(
        &plan(rest),
        Some(&targets(others)),
        Mode::Validate,
        &registry(),
    ))
}

pub(crate) fn shown(result: Result<Compiled, PlanErrors>) -> String {
    match result {
        Ok(compiled) => show(&compiled.warnings),
        Err(errors) => show(errors.errors()),
    }
}

/// Findings as people see them, without colour.
pub(crate) fn show(errors: &[PlanError]) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(90)
        .with_links(false);
    let mut text = String::new();
    for error in errors {
        handler.render_report(&mut text, error).expect("it is rendered");
    }
    if text.is_empty() {
        let _ = write!(text, "nothing");
    }
    // Trailing white space is noise in a snapshot.
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The codes of what was found, without `jm::plan::`.
pub(crate) fn codes(result: &Result<Compiled, PlanErrors>) -> Vec<&'static str> {
    let errors = match result {
        Ok(compiled) => &compiled.warnings,
        Err(errors) => errors.errors(),
    };
    errors
        .iter()
        .map(|error| error.code().trim_start_matches("jm::plan::"))
        .collect()
}
