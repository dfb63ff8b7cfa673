//! Holds targets to the systems that they were: asks the dispatcher, which alone knows and writes down.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use jm_step::connection::AnyConnection;
use jm_step::{Effect, Expect, Identity, IdentityGate, StepError, Target, TargetName};
use tokio::sync::{mpsc, oneshot};

use crate::executor::News;
use crate::holds::Holds;
use crate::run::Run;
use crate::state::RunState;

/// The engine's end of [`IdentityGate`].
pub(crate) struct Gate {
    news: mpsc::Sender<News>,
    holds: Arc<Holds>,
}

/// A system that wants to be used under a target's name.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) target: TargetName,
    pub(crate) pinned: Option<String>,
    pub(crate) identity: Identity,
    pub(crate) expect: Expect,
}

impl Gate {
    pub(crate) fn new(news: mpsc::Sender<News>, holds: Arc<Holds>) -> Self {
        Self { news, holds }
    }
}

impl IdentityGate for Gate {
    fn admit<'a>(
        &'a self,
        target: &'a Target,
        identity: Identity,
        expect: Expect,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        let wanted = Admission {
            target: target.name.clone(),
            pinned: target.pinned.clone(),
            identity,
            expect,
        };
        async move {
            let gone = || StepError::cancelled("the run is over");
            let (ack, answer) = oneshot::channel();
            self.news.send(News::Admit(wanted, ack)).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        }
        .boxed()
    }

    fn notice(&self, text: String) -> BoxFuture<'_, ()> {
        async move { drop(self.news.send(News::Notice(text)).await) }.boxed()
    }

    fn hold<'a>(
        &'a self,
        target: &'a Target,
        identity: &'a Identity,
        connection: &'a Arc<dyn AnyConnection>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        self.holds.hold(target, identity, connection).boxed()
    }
}

/// What is known of the systems behind the targets.
pub(crate) struct Known<'k> {
    pub(crate) recorded: &'k BTreeMap<TargetName, Identity>,
    pub(crate) accepted: &'k BTreeMap<TargetName, String>,
    pub(crate) repairs: &'k std::collections::BTreeSet<TargetName>,
}

impl Known<'_> {
    /// Whether the system is the one that the plan has brought up in the place of the pinned one: the step that is to judge
    /// that has just done so, or did so before.
    fn has_taken_its_place(&self, wanted: &Admission) -> bool {
        let is_recorded = || {
            let recorded = self.recorded.get(&wanted.target);
            recorded.is_some_and(|recorded| recorded.differs_from(&wanted.identity).is_none())
        };
        let is_judged = match wanted.expect {
            Expect::New => true,
            Expect::Same => is_recorded(),
            Expect::Named => false,
        };
        is_judged && self.repairs.contains(&wanted.target)
    }

    /// Whether the system may be used; `true` where its identity is news and is to be recorded.
    pub(crate) fn judge(&self, wanted: &Admission) -> Result<bool, StepError> {
        let name = &wanted.target;
        let accepted = self.accepted.get(name).is_some_and(|id| is_named(&wanted.identity, id));
        if let Some(pinned) = wanted
            .pinned
            .as_deref()
            .filter(|pinned| !accepted && !is_named(&wanted.identity, pinned) && !self.has_taken_its_place(wanted))
        {
            return Err(other_system(
                name,
                &wanted.identity.to_string(),
                pinned,
                "the targets file pins",
            ));
        }
        if wanted.expect == Expect::Named && !accepted && wanted.pinned.is_none() {
            return Err(StepError::refused(format!(
                "nobody has named the system of target `{name}`"
            )));
        }
        let Some(recorded) = self.recorded.get(name) else {
            return Ok(true);
        };
        let may_be_new = accepted || (wanted.expect == Expect::New && self.repairs.contains(name));
        match recorded.differs_from(&wanted.identity) {
            Some((_, known, found)) if !may_be_new => Err(other_system(name, found, known, "this run used")),
            Some(_) => Ok(true),
            None => Ok(recorded.learns_from(&wanted.identity)),
        }
    }
}

/// Whether another system than the recorded one is for a step to judge: the first step that does more than look at the target is
/// a gate, and still to come. The plan may have brought that system up after the run recorded the one before, and died then;
/// or, where the one before never answered and is pinned, before anything was recorded.
pub(crate) fn is_left_to_a_gate(run: &Run, state: &RunState, target: &TargetName) -> bool {
    let mut users = run
        .plan
        .steps()
        .iter()
        .filter(|step| step.bindings.values().any(|used| used == target))
        .filter(|step| step.step_type.is_gate() || step.effect != Effect::ReadOnly);
    let is_to_come = |id: &str| state.step(id).is_some_and(|entry| !entry.state.is_settled());
    let is_pinned = run
        .targets
        .iter()
        .any(|one| one.name == *target && one.pinned.is_some());
    let has_begun = || state.steps().iter().any(|entry| entry.attempts > 0);
    (state.targets().contains_key(target) || is_pinned && has_begun())
        && users
            .next()
            .is_some_and(|first| first.step_type.is_gate() && is_to_come(first.id.as_str()))
}

/// Holds a target that is used outside of a run to the identity that its targets file pins.
pub fn admits_pinned(target: &Target, identity: Identity) -> Result<(), StepError> {
    let wanted = Admission {
        target: target.name.clone(),
        pinned: target.pinned.clone(),
        identity,
        expect: Expect::Same,
    };
    let known = Known {
        recorded: &BTreeMap::new(),
        accepted: &BTreeMap::new(),
        repairs: &std::collections::BTreeSet::new(),
    };
    known.judge(&wanted).map(drop)
}

/// What people have to do about a system that has come in the place of the pinned one.
pub(crate) fn repinned(wanted: &Admission) -> Option<String> {
    let (target, found) = (&wanted.target, &wanted.identity);
    let pinned = wanted.pinned.as_ref().filter(|pinned| !is_named(found, pinned))?;
    Some(format!(
        "target `{target}` is `{found}` from now on, and the targets file pins `{pinned}`: other plans refuse it until that is \
         changed there, or in the variable that it reads"
    ))
}

/// Whether an identity is meant by a text: as a whole, or one of its locations.
fn is_named(identity: &Identity, text: &str) -> bool {
    identity.to_string() == text || identity.0.values().any(|id| id == text)
}

fn other_system(target: &TargetName, found: &str, known: &str, who: &str) -> StepError {
    StepError::refused(format!(
        "target `{target}` is another system now: it is `{found}`, and {who} `{known}`"
    ))
    .hint(format!(
        "look at the address that the targets file and the environment give for `{target}`; if this really is the system to \
         use, say so with `--accept-identity {}`",
        as_word(&format!("{target}={found}"))
    ))
}

/// As one word of a shell.
fn as_word(text: &str) -> String {
    if text.contains(|c: char| c.is_whitespace() || "'\"$`\\".contains(c)) {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(
        pinned: Option<&str>,
        recorded: Option<&str>,
        found: &str,
        expect: Expect,
        accept: bool,
    ) -> Result<bool, String> {
        let name: TargetName = "database".parse().expect("a name");
        let known = Known {
            recorded: &recorded
                .map(|id| (name.clone(), Identity::single(id)))
                .into_iter()
                .collect(),
            accepted: &accept.then(|| (name.clone(), found.to_owned())).into_iter().collect(),
            repairs: &std::iter::once(name.clone()).collect(),
        };
        let wanted = Admission {
            target: name,
            pinned: pinned.map(str::to_owned),
            identity: Identity::single(found),
            expect,
        };
        known.judge(&wanted).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_pin_holds_where_the_plan_repairs_something_else() {
        let name: TargetName = "database".parse().expect("a name");
        let wanted = |expect| Admission {
            target: name.clone(),
            pinned: Some("a".to_owned()),
            identity: Identity::single("b"),
            expect,
        };
        let recorded = std::iter::once((name.clone(), Identity::single("b"))).collect();
        let known = Known {
            recorded: &recorded,
            accepted: &BTreeMap::new(),
            repairs: &std::iter::once("cluster".parse().expect("a name")).collect(),
        };
        for expect in [Expect::New, Expect::Same] {
            assert!(known.judge(&wanted(expect)).is_err(), "{expect:?}");
        }
    }

    #[test]
    fn only_the_system_that_is_known_is_admitted() {
        use Expect::{Named, New, Same};
        assert_eq!(judge(None, None, "a", Same, false), Ok(true));
        assert_eq!(judge(None, Some("a"), "a", Same, false), Ok(false));
        assert!(
            judge(None, Some("a"), "b", Same, false).is_err_and(|text| text.contains("`a`") && text.contains("`b`"))
        );
        let unwritten = Identity::unwritten("/other");
        assert!(judge(None, Some("a"), &unwritten, Same, false).is_err());
        assert_eq!(judge(None, Some("a"), &unwritten, Same, true), Ok(true));
        assert_eq!(
            judge(None, Some(&unwritten), "a", Same, false),
            Ok(true),
            "it has got its mark"
        );
        assert_eq!(judge(None, Some(&unwritten), &unwritten, Same, false), Ok(false));
        assert_eq!(judge(None, Some("a"), "b", New, false), Ok(true));
        assert_eq!(judge(None, Some("a"), "b", Same, true), Ok(true));
        assert!(
            judge(None, Some("a"), "a", Named, false).is_err(),
            "recorded by the run itself"
        );
        assert_eq!(judge(None, None, "a", Named, true), Ok(true));
        assert_eq!(judge(Some("a"), Some("a"), "a", Named, false), Ok(false));
        assert!(judge(Some("a"), None, "b", Named, false).is_err());
        assert_eq!(judge(Some("a"), None, "a", Same, false), Ok(true));
        assert!(judge(Some("a"), None, "b", Same, false).is_err());
        assert_eq!(judge(Some("a"), None, "b", New, false), Ok(true), "the plan repairs it");
        assert_eq!(judge(Some("a"), Some("a"), "b", New, false), Ok(true));
        assert_eq!(
            judge(Some("a"), Some("b"), "b", Same, false),
            Ok(false),
            "a resume holds to it"
        );
        assert!(judge(Some("a"), Some("b"), "c", Same, false).is_err());
        assert!(
            judge(Some("a"), Some("b"), "b", Named, false).is_err(),
            "nobody has named it"
        );
        assert_eq!(judge(Some("a"), None, "b", Same, true), Ok(true));
    }
}
