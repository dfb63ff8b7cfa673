//! Which system it really is, and how many steps act on it at once.

use std::sync::Arc;

use jm_run::{Event, RunError, RunStatus};
use jm_step::{Connection, Identity, OpenContext, Provider, Registry, StepError, Target};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::Session;

/// A system that says who it is.
struct Box_ {
    config: BoxConfig,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
struct BoxConfig {
    who: String,
    #[serde(default)]
    down: bool,
}

impl Connection for Box_ {
    const PROVIDER: &'static str = "box";
    type Config = BoxConfig;
    type Reader = BoxConfig;
    async fn open(config: BoxConfig, _: &OpenContext) -> Result<Self, StepError> {
        Ok(Self { config })
    }
    async fn ping(&self) -> Result<(), StepError> {
        if self.config.down {
            Err(StepError::unavailable("nobody answers"))
        } else {
            Ok(())
        }
    }
    async fn identity(&self) -> Result<Identity, StepError> {
        Ok(Identity::single(self.config.who.clone()))
    }
    fn reader(&self) -> &BoxConfig {
        &self.config
    }
}

/// `box.use`: says which system it used.
struct Use;

#[derive(Debug, Deserialize, JsonSchema)]
struct NoInput {}

#[derive(Debug, serde::Serialize, Deserialize, JsonSchema)]
struct Used {
    who: String,
}

impl jm_step::StepType for Use {
    const NAME: &'static str = "box.use";
    const SUMMARY: &'static str = "uses a box";
    const EFFECT: jm_step::Effect = jm_step::Effect::Reversible;
    const REPEAT: jm_step::Repeat = jm_step::Repeat::Safe;
    type Input = NoInput;
    type Output = Used;
    fn roles(&self) -> Vec<jm_step::Role> {
        vec![jm_step::Role::of::<Box_>("box")]
    }
    async fn preview(&self, cx: &jm_step::ReadContext, _: &NoInput) -> Result<jm_step::Preview<Used>, StepError> {
        let who = cx.read::<Box_>().await?.who.clone();
        Ok(jm_step::Preview::verified("looks").predict(Used { who }))
    }
    async fn run(&self, cx: &jm_step::StepContext, _: NoInput) -> Result<Used, StepError> {
        let who = cx.connect::<Box_>().await?.config.who.clone();
        Ok(Used { who })
    }
    async fn probe(&self, _: &jm_step::ReadContext, _: &NoInput) -> Result<jm_step::Probe<Used>, StepError> {
        Ok(jm_step::Probe::NotStarted)
    }
}

/// `box.seek`: finds nothing in the box, for that something comes into it later.
struct Seek;

impl jm_step::StepType for Seek {
    const NAME: &'static str = "box.seek";
    const SUMMARY: &'static str = "looks for something in the box";
    const EFFECT: jm_step::Effect = jm_step::Effect::ReadOnly;
    const REPEAT: jm_step::Repeat = jm_step::Repeat::Safe;
    type Input = NoInput;
    type Output = Used;
    fn roles(&self) -> Vec<jm_step::Role> {
        vec![jm_step::Role::of::<Box_>("box")]
    }
    async fn preview(&self, _: &jm_step::ReadContext, _: &NoInput) -> Result<jm_step::Preview<Used>, StepError> {
        Err(StepError::not_found("nothing is in the box"))
    }
    async fn run(&self, cx: &jm_step::StepContext, _: NoInput) -> Result<Used, StepError> {
        let who = cx.connect::<Box_>().await?.config.who.clone();
        Ok(Used { who })
    }
    async fn probe(&self, _: &jm_step::ReadContext, _: &NoInput) -> Result<jm_step::Probe<Used>, StepError> {
        Ok(jm_step::Probe::NotStarted)
    }
}

/// `box.take`: a gate that takes whichever box is there.
struct Take;

impl jm_step::StepType for Take {
    const NAME: &'static str = "box.take";
    const SUMMARY: &'static str = "takes the box that is there";
    const EFFECT: jm_step::Effect = jm_step::Effect::ReadOnly;
    const REPEAT: jm_step::Repeat = jm_step::Repeat::Safe;
    const GATE: bool = true;
    type Input = NoInput;
    type Output = Used;
    fn roles(&self) -> Vec<jm_step::Role> {
        vec![jm_step::Role::of::<Box_>("box")]
    }
    async fn preview(&self, cx: &jm_step::ReadContext, _: &NoInput) -> Result<jm_step::Preview<Used>, StepError> {
        let who = cx.look::<Box_>().await?.who.clone();
        Ok(jm_step::Preview::verified("takes").predict(Used { who }))
    }
    async fn run(&self, cx: &jm_step::StepContext, _: NoInput) -> Result<Used, StepError> {
        let who = cx.reopen::<Box_>(jm_step::Expect::New).await?.config.who.clone();
        Ok(Used { who })
    }
    async fn probe(&self, _: &jm_step::ReadContext, _: &NoInput) -> Result<jm_step::Probe<Used>, StepError> {
        Ok(jm_step::Probe::NotStarted)
    }
}

pub(crate) fn boxed(repairs: &str, steps: &str) -> Session {
    let registry = Registry::new()
        .with(jm_testkit::provider())
        .with(Provider::of::<Box_>().step(Seek).step(Take).step(Use));
    let targets = "apiVersion: jm/v1\nkind: Targets\nname: t\ntargets:\n  box: { provider: box, who: a }\n";
    let (targets, errors) = jm_plan::parse_targets("targets.yaml", targets);
    assert!(errors.is_empty(), "{errors:?}");
    let plan = format!("apiVersion: jm/v1\nname: boxes\n{repairs}steps:\n{steps}");
    let (document, _) = jm_plan::parse("p.yaml", &plan);
    let now = jm_step::clock::now();
    let arguments = jm_plan::Arguments::default();
    let compiled = jm_plan::compile(
        &document,
        &registry,
        &arguments,
        Some(&targets),
        jm_plan::Mode::Run,
        now,
    );
    Session::of(&Arc::new(compiled.expect("right").plan))
}

impl Session {
    pub(crate) fn with_box(&mut self, who: &str, down: bool, pinned: Option<&str>) {
        let registry = Registry::new().with(Provider::of::<Box_>());
        self.run.targets = vec![Target {
            name: "box".parse().expect("a name"),
            connection: registry.connection("box").expect("there").clone(),
            config: json!({ "who": who, "down": down }),
            pinned: pinned.map(str::to_owned),
        }];
    }
}

#[tokio::test]
async fn steps_wait_for_each_other_on_a_target_with_a_limit() {
    let steps = "  - { id: a, uses: box.use }\n  - { id: b, uses: box.use }\n  - { id: c, uses: test.noop }\n";
    let order = |limit: Option<usize>| async move {
        let mut session = boxed("", steps);
        session.with_box("a", false, None);
        let limit = limit.map(|limit| ("box".parse().expect("a name"), limit));
        session.run.max_parallel = limit.into_iter().collect();
        assert_eq!(session.go().await, RunStatus::Completed);
        let story = session.story();
        let at = |words: &str| story.iter().position(|line| line == words).expect(words);
        (at("step-started b"), at("step-succeeded a"), at("step-started c"))
    };
    let (b, a_ended, c) = order(Some(1)).await;
    assert!(b > a_ended && c < a_ended, "{b} {a_ended} {c}");
    let (b, a_ended, _) = order(None).await;
    assert!(b < a_ended, "nothing limits it");
}

const TWO: &str = "  - { id: a, uses: box.use }\n  - { id: b, uses: box.use, needs: [a] }\n";

#[tokio::test]
async fn a_resume_that_reaches_another_system_is_refused() {
    let mut session = boxed("", TWO);
    session.with_box("a", false, None);
    session.run.options.until = Some(crate::id("b"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    assert_eq!(session.story()[1], "target-opened");
    session.run.options.until = None;
    session.with_box("other", false, None);
    let error = session.try_go().await.expect_err("refused");
    assert!(
        error.is_refusal() && error.to_string().contains("is another system now"),
        "{error}"
    );
    session
        .run
        .options
        .accept_identity
        .insert("box".parse().expect("a name"), "other".to_owned());
    assert_eq!(session.go().await, RunStatus::Completed);
}

#[tokio::test]
async fn another_system_that_answers_is_not_called_down() {
    let mut session = boxed("repairs: [box]\n", TWO);
    session.with_box("a", false, None);
    session.run.options.until = Some(crate::id("b"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    session.run.options.until = None;
    session.with_box("other", false, None);
    session.try_go().await.expect_err("refused");
    let down = |event: &Event| matches!(event, Event::Target { up: false, .. });
    assert!(!session.reporter.events().iter().any(down));
}

#[tokio::test]
async fn another_system_is_left_to_the_gate_that_comes_first() {
    let steps = "  - { id: take, uses: box.take }\n  - { id: b, uses: box.use, needs: [take] }\n  - { id: c, uses: box.use, needs: [b] }\n";
    let mut session = boxed("repairs: [box]\n", steps);
    session.with_box("a", false, None);
    session.run.options.until = Some(crate::id("take"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    // The system was brought up anew, and the run died before the gate said so.
    session.with_box("other", false, None);
    session.run.options.until = Some(crate::id("c"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    assert_eq!(session.status("b"), "succeeded");
    // After the gate it is held to.
    session.with_box("a", false, None);
    session.run.options.until = None;
    let error = session.try_go().await.expect_err("refused");
    assert!(error.is_refusal(), "{error}");

    // A look before it, which may fail, holds the run to nothing.
    let looks =
        "  - { id: seek, uses: box.seek, on_failure: continue }\n  - { id: take, uses: box.take, needs: [seek] }\n";
    let mut session = boxed("repairs: [box]\n", looks);
    session.with_box("a", false, None);
    session.run.options.until = Some(crate::id("take"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    assert_eq!(session.status("seek"), "succeeded");
    session.with_box("other", false, None);
    session.run.options.until = None;
    session.go().await;
    assert_eq!(session.status("take"), "succeeded");

    // Nothing is left to a gate that comes second, or where the plan repairs nothing.
    let second = "  - { id: b, uses: box.use }\n  - { id: take, uses: box.take, needs: [b] }\n";
    for (repairs, steps) in [("repairs: [box]\n", second), ("", steps)] {
        let mut session = boxed(repairs, steps);
        session.with_box("a", false, None);
        session.run.options.until = Some(crate::id("take"));
        session.go().await;
        session.with_box("other", false, None);
        session.run.options.until = None;
        assert!(session.try_go().await.is_err_and(|error| error.is_refusal()), "{steps}");
    }
}

#[tokio::test]
async fn a_pinned_system_and_a_system_that_is_down_are_found_before_the_first_step() {
    let mut session = boxed("", TWO);
    session.with_box("a", false, Some("b"));
    assert!(session.try_go().await.is_err_and(|error| error.is_refusal()));
    assert_eq!(session.status("a"), "not-started");

    let mut session = boxed("", TWO);
    session.with_box("a", true, None);
    let error = session.try_go().await.expect_err("down");
    assert!(matches!(&error, RunError::Preflight { problems } if problems.len() == 1) && !error.is_refusal());
    session.with_box("a", false, None);
    assert_eq!(
        session.go().await,
        RunStatus::Completed,
        "once it is up, a resume goes on"
    );
}

#[tokio::test]
async fn what_the_plan_repairs_may_be_down_at_first() {
    let mut session = boxed("repairs: [box]\n", "  - { id: a, uses: test.noop }\n");
    session.with_box("a", true, None);
    assert_eq!(session.go().await, RunStatus::Completed);

    let mut session = boxed("repairs: [box]\n", TWO);
    session.with_box("a", true, None);
    assert_eq!(session.go().await, RunStatus::Failed, "but not when a step needs it");
    let looked = |event: &Event| matches!(event, Event::Target { up: false, .. });
    assert!(session.reporter.events().iter().any(looked));
}

#[tokio::test]
async fn steps_of_a_target_that_is_not_configured_are_skipped() {
    let mut session = boxed("", TWO);
    session
        .run
        .not_configured
        .insert("box".parse().expect("a name"), "`who` is empty".to_owned());
    assert_eq!(session.go().await, RunStatus::Completed);
    assert_eq!(session.status("a"), "skipped");
}
