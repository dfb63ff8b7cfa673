//! What may not be taken back, and which system it really is.

use std::sync::Arc;
use std::time::Duration;

use jm_run::{Event, RecordKind, RunError, RunStatus};
use jm_step::{Connection, Identity, OpenContext, Provider, Registry, StepError, StepErrorKind, Target};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::people::somebody;
use crate::{Session, effects};

fn recovery(file: &str, hours_old: i64, serving: bool) -> String {
    let point = jm_step::clock::now() - jiff::SignedDuration::from_hours(hours_old);
    format!(
        "apiVersion: jm/v1
name: recovery
objectives: {{ rpo: 24h }}
steps:
  - {{ id: find, uses: test.recover, with: {{ recovery_point: '{point}', serving: {serving} }} }}
  - {{ id: switch, uses: test.final, needs: [find], with: {{ file: '{file}', name: switch }} }}
"
    )
}

#[tokio::test]
async fn data_that_is_still_served_is_not_lost_without_a_word() {
    let (_temp, file) = effects();
    let mut session = Session::new(&recovery(&file, 26, true));
    assert_eq!(session.go().await, RunStatus::Failed);
    assert_eq!(session.error("switch").kind, StepErrorKind::Refused);
    assert!(jm_testkit::effects_in(&file).is_empty());
    session.run.options.accept_data_loss = Some(Duration::from_hours(27));
    assert_eq!(
        session.go().await,
        RunStatus::Completed,
        "with the loss accepted it goes on"
    );
    let summary = summary(&session);
    assert!(
        summary.objective_missed
            && summary
                .data_loss
                .is_some_and(|loss| loss.window() >= Duration::from_hours(26))
    );
}

#[tokio::test]
async fn where_nothing_is_served_any_more_recovery_is_never_refused() {
    let (_temp, file) = effects();
    let mut session = Session::new(&recovery(&file, 26, false));
    assert_eq!(session.go().await, RunStatus::Completed);
    let told = |event: &Event| matches!(event, Event::Notice { text } if text.contains("`switch` makes it final that 26h of data"));
    let events = session.reporter.events();
    assert_eq!(events.iter().filter(|event| told(event)).count(), 1, "{events:?}");
}

#[tokio::test]
async fn a_person_may_say_yes_to_the_loss() {
    for (approves, status) in [(true, RunStatus::Completed), (false, RunStatus::Failed)] {
        let (_temp, file) = effects();
        let mut session = Session::new(&recovery(&file, 26, true));
        session.run.person = Some(somebody(approves));
        assert_eq!(session.go().await, status);
        let consents = session.state().consents().len();
        assert_eq!(consents, usize::from(approves), "the yes is in the journal");
    }
}

fn protected(file: &str, gate: &str) -> Session {
    let mut session = Session::new(&format!(
        "apiVersion: jm/v1
name: protected
steps:
  - {{ id: gate, {gate} }}
  - {{ id: switch, uses: test.final, needs: [gate], with: {{ file: '{file}', name: switch }} }}
"
    ));
    session.run.protected = true;
    "production".clone_into(&mut session.run.targets_name);
    session
}

#[tokio::test]
async fn protected_targets_need_a_confirmation_an_approval_or_a_person() {
    let (_temp, file) = effects();
    let look = "uses: test.recover, with: { recovery_point: '', serving: false }";
    let mut session = protected(&file, look);
    let error = session.try_go().await.expect_err("a proof is no person's word");
    assert!(error.is_refusal(), "{error}");
    assert_eq!(
        session.status("gate"),
        "not-started",
        "and nothing is begun for nothing"
    );
    let hint = match error {
        RunError::Refused(error) => error.hint,
        _ => None,
    };
    assert!(hint.is_some_and(|hint| hint.contains("--confirm production")));

    let mut session = protected(&file, look);
    session.run.options.confirmed = true;
    assert_eq!(session.go().await, RunStatus::Completed);

    let mut session = protected(&file, look);
    session.run.person = Some(somebody(false));
    assert!(session.try_go().await.is_err_and(|error| error.is_refusal()));
    session.run.person = Some(somebody(true));
    assert_eq!(
        session.go().await,
        RunStatus::Completed,
        "a refused start can be resumed"
    );
}

#[tokio::test]
async fn an_approval_before_it_is_word_enough() {
    let (_temp, file) = effects();
    let mut session = protected(&file, "uses: test.ask, with: { question: 'may it?' }");
    assert_eq!(session.go().await, RunStatus::Waiting);
    let seq = session.records.len() as u64 + 1;
    session.records.push(jm_run::Record {
        seq,
        batch: seq,
        at: jm_step::clock::now(),
        kind: RecordKind::Operator(jm_run::journal::Said {
            id: "1".to_owned(),
            who: "grace".to_owned(),
            verb: jm_run::OperatorVerb::Approve,
            step: Some(crate::id("gate")),
            reason: None,
        }),
    });
    assert_eq!(session.go().await, RunStatus::Completed);
}

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

/// It would be refused in the end: nothing is stopped, saved or restored for it.
#[tokio::test]
async fn a_recovery_that_would_lose_too_much_is_refused_before_it_changes_anything() {
    for (approves, status, lines) in [
        (None, RunStatus::Failed, 0),
        (Some(false), RunStatus::Failed, 0),
        (Some(true), RunStatus::Completed, 2),
    ] {
        let (_temp, file) = effects();
        let stop =
            format!("  - {{ id: stop, uses: test.once, needs: [find], with: {{ file: '{file}', name: stop }} }}\n");
        let plan = recovery(&file, 26, true).replace("needs: [find]", "needs: [stop]");
        let mut session = Session::new(&(plan + &stop));
        session.run.person = approves.map(somebody);
        assert_eq!(session.go().await, status, "{approves:?}");
        assert_eq!(jm_testkit::effects_in(&file).len(), lines, "{approves:?}");
        if lines == 0 {
            assert_eq!(session.error("stop").kind, StepErrorKind::Refused);
        } else {
            assert_eq!(session.state().consents().len(), 1, "one loss is asked about once");
        }
    }
}

/// A recovery to this moment that may lose a second, with a step that stops writing, and that takes so long.
fn stopped(file: &str, takes: u64, serving: bool) -> Session {
    let plan = recovery(file, 0, serving)
        .replace("rpo: 24h", "rpo: 1s")
        .replace("needs: [find]", "needs: [stop]");
    let stop = format!("  - {{ id: stop, uses: test.stop, needs: [find], with: {{ takes: {takes} }} }}\n");
    Session::new(&(plan + &stop))
}

fn summary(session: &Session) -> jm_run::RunSummary {
    let now = jm_step::clock::now();
    jm_run::summarize(&session.run.plan, &session.records, &session.files, now).expect("legal")
}

#[tokio::test]
async fn what_is_written_until_writing_stops_is_lost_and_asked_about_again() {
    let (_temp, file) = effects();
    let mut session = stopped(&file, 2100, true);
    assert_eq!(session.go().await, RunStatus::Failed);
    assert_eq!(session.error("switch").kind, StepErrorKind::Refused);
    assert!(session.error("switch").message.starts_with("2s of data would be lost"));
    assert!(jm_testkit::effects_in(&file).is_empty());
}

#[tokio::test]
async fn of_a_database_that_is_gone_nothing_more_is_lost() {
    let (_temp, file) = effects();
    let mut session = stopped(&file, 0, false);
    session.run.options.until = Some(crate::id("switch"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    session.run.options.until = None;
    assert_eq!(session.go().await, RunStatus::Completed);
    assert_eq!(summary(&session).data_loss.map(|loss| loss.seconds), Some(0));
}

#[tokio::test]
async fn nothing_more_is_lost_once_writing_has_stopped() {
    let (_temp, file) = effects();
    let mut session = stopped(&file, 0, true);
    session.run.options.until = Some("switch".parse().expect("an id"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    session.run.options.until = None;
    assert_eq!(session.go().await, RunStatus::Completed);
    let summary = summary(&session);
    assert!(!summary.objective_missed, "{:?}", summary.data_loss);
    assert_eq!(summary.data_loss.map(|loss| loss.seconds), Some(0));
}
