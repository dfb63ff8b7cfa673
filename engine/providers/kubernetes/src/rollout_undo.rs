//! `kubernetes.rollout_undo`: brings a workload back to a revision that it has had, and waits until that is rolled out.

use std::time::Duration;

use jm_client_kubernetes::{Kind, Kubernetes, PodInTheWay, Reader, Revision, Workload, WorkloadRef};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::needs;
use crate::rollout_history::previous;
use crate::wait::{self, Until};
use crate::{kept, kinds};

/// How often the workload is looked at again where somebody changes it in the very moment.
const TRIES: u32 = 10;

/// The step type `kubernetes.rollout_undo`.
pub struct RolloutUndo;

/// What goes back where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which Deployment, StatefulSet or DaemonSet.
    workload: WorkloadRef,
    /// The revision to go back to, as `kubernetes.rollout_history` numbers them. Without it: the one before, which is the
    /// newest that runs something else.
    #[serde(default)]
    to_revision: Option<u64>,
    /// Whether to wait until it is rolled out.
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

/// From where to where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The revision that it was at.
    from_revision: u64,
    /// The revision that it was brought back to, by the number of before: the controller gives it a new one.
    to_revision: u64,
    /// The ReplicaSet or ControllerRevision that keeps that template.
    keeper: String,
    /// The images that it runs.
    images: Vec<String>,
    /// Whether anything had to be changed: `false` where it was at that revision already.
    changed: bool,
}

impl StepType for RolloutUndo {
    const NAME: &'static str = "kubernetes.rollout_undo";
    const SUMMARY: &'static str = "brings a workload back to an earlier revision and waits until it is rolled out";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe; // the template that is gone back to is written down first, by who keeps it
    const TIMEOUT: Duration = Duration::from_mins(10);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        kinds::without_rollouts("/workload", &input.workload).map_or(Ok(()), |issue| Err(vec![issue]))
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_go_back(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let found = look(&cluster, input, cx.saved_output()?.as_ref()).await?;
        let cleared = found.in_the_way.iter().map(in_the_way);
        let does: Vec<String> = [summary(input, &found.output)].into_iter().chain(cleared).collect();
        let summary = does.join("; ");
        let deletions = found.in_the_way.iter().map(deletion);
        let changes: Vec<Change> = found.change(input).into_iter().chain(deletions).collect();
        Ok(if changes.is_empty() {
            Preview::verified(summary)
        } else {
            Preview::computed(kept::warned(summary, &kept::warning(&found.state)), changes)
        }
        .predict(found.output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.connect::<Kubernetes>().await?;
        let earlier = cx.saved_output::<Output>()?;
        let mut tries = 0;
        let output = loop {
            tries += 1;
            let found = wait::answer(cx, || look(&cluster, &input, earlier.as_ref())).await?;
            // On disk before the change: afterwards "the one before" is another one.
            cx.save_output(&found.output).await?;
            let Some(change) = found.change(&input) else {
                cx.log(format!("{}: {}", input.workload, summary(&input, &found.output)))
                    .await;
                break found.output;
            };
            match cluster.roll_back(&found.state, &found.target).await {
                Ok(()) => {
                    cx.changed(change).await;
                    if let Some(warning) = kept::warning(&found.state) {
                        cx.log(warning).await;
                    }
                    break found.output;
                }
                Err(error) if error.kind() == StepErrorKind::Conflict && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        };
        clear_the_way(cx, &cluster, &input, &output).await?;
        if input.wait {
            wait::ready(cx, &cluster, &input.workload, Until::RolledOut).await?;
        }
        Ok(output)
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let Some(saved) = cx.saved_output::<Output>()? else {
            return Ok(Probe::NotStarted);
        };
        let cluster = cx.read::<Kubernetes>().await?;
        let found = look(&cluster, input, Some(&saved)).await?;
        Ok(if !found.target.current {
            Probe::NotStarted
        } else if let Some(pod) = found.in_the_way.first() {
            Probe::partial(format!("pod `{}` holds up the rollout of {}", pod.name, input.workload))
        } else if input.wait && !found.state.is_rolled_out() {
            Probe::partial(format!("{} is being rolled out", input.workload))
        } else {
            Probe::Succeeded(saved)
        })
    }
}

/// A workload, and where it is to go.
struct Found {
    state: Workload,
    target: Revision,
    from: u64,
    output: Output,
    /// Pods of a StatefulSet that have to be deleted, for it replaces none that does not become ready.
    in_the_way: Vec<PodInTheWay>,
}

impl Found {
    fn change(&self, input: &Input) -> Option<Change> {
        (!self.target.current).then(|| {
            Change::update(
                input.workload.to_string(),
                json!({ "revision": self.from }),
                json!({ "revision": self.target.number, "images": self.target.images }),
            )
        })
    }
}

/// Deletes what holds up a StatefulSet on its way back. Not before its controller has taken the template up: it would make
/// the same pods again.
async fn clear_the_way(cx: &StepContext, cluster: &Kubernetes, input: &Input, done: &Output) -> Result<(), StepError> {
    if input.workload.kind != Kind::StatefulSet {
        return Ok(());
    }
    let taken_up = || async {
        let found = look(cluster, input, Some(done)).await?;
        if found.state.has_taken_up(&found.target) {
            return Ok(found);
        }
        Err(StepError::unavailable(format!(
            "the controller of {} has not taken its template up",
            input.workload
        )))
    };
    for pod in wait::answer(cx, taken_up).await?.in_the_way {
        cluster.clear(&pod).await.map_err(|error| {
            let namespace = cluster.namespace();
            let by_hand = format!("`kubectl delete pod {} -n {namespace}`, then resume the run", pod.name);
            error
                .context(format!("{} holds up the way back", pod.name))
                .hint(by_hand)
        })?;
        cx.log(in_the_way(&pod)).await;
        cx.changed(deletion(&pod)).await;
    }
    Ok(())
}

fn in_the_way(pod: &PodInTheWay) -> String {
    format!("delete pod `{}`, which is not ready and holds up the others", pod.name)
}

fn deletion(pod: &PodInTheWay) -> Change {
    Change::delete(format!("pod/{}", pod.name))
}

async fn look(cluster: &Reader, input: &Input, earlier: Option<&Output>) -> Result<Found, StepError> {
    let (state, revisions) = cluster.history(&input.workload).await?;
    let workload = &input.workload;
    // A rollout that is paused takes the template and does nothing about it. That does not pass by waiting, so it is found
    // out before anything that does.
    let target = target(input, &revisions, earlier);
    let is_there = target.as_ref().is_ok_and(|target| target.current);
    if state.paused && !is_there {
        return Err(StepError::conflict(format!("the rollout of {workload} is paused"))
            .hint(format!("`kubectl rollout resume {workload}`, then go back")));
    }
    let from = revisions.iter().find(|one| one.current).map(|one| one.number);
    let Some(from) = from.filter(|_| state.observed) else {
        return Err(StepError::unavailable(format!(
            "the controller of {workload} has not seen its newest template yet"
        )));
    };
    let target = target?;
    let output = earlier.cloned().unwrap_or_else(|| Output {
        from_revision: from,
        to_revision: target.number,
        keeper: target.keeper.clone(),
        images: target.images.clone(),
        changed: !target.current,
    });
    Ok(Found {
        from,
        in_the_way: cluster.in_the_way(&state, target).await?,
        target: target.clone(),
        state,
        output,
    })
}

/// The revision that is gone back to: the one that was written down before, else the one that the input means.
fn target<'r>(input: &Input, revisions: &'r [Revision], earlier: Option<&Output>) -> Result<&'r Revision, StepError> {
    let Some(earlier) = earlier else {
        return wanted(input, revisions);
    };
    revisions
        .iter()
        .find(|one| one.keeper == earlier.keeper)
        .ok_or_else(|| {
            StepError::not_found(format!(
                "revision {} of {}, which this run goes back to, is not kept any more",
                earlier.to_revision, input.workload
            ))
        })
}

fn wanted<'r>(input: &Input, revisions: &'r [Revision]) -> Result<&'r Revision, StepError> {
    let workload = &input.workload;
    let Some(number) = input.to_revision else {
        return previous(revisions).ok_or_else(|| {
            let why = match revisions.len() {
                1 => "has one revision only",
                _ => "runs the same in all revisions that are kept, which restarts have made",
            };
            StepError::conflict(format!("{workload} {why}, so there is none to go back to"))
                .hint("deploy a good image instead: `kubernetes.set_image`")
        });
    };
    revisions.iter().find(|one| one.number == number).ok_or_else(|| {
        let known: Vec<String> = revisions.iter().map(|one| one.number.to_string()).collect();
        StepError::not_found(format!("{workload} has no revision {number}"))
            .hint(format!("it has: {}", known.join(", ")))
    })
}

fn summary(input: &Input, output: &Output) -> String {
    let workload = &input.workload;
    if output.changed {
        format!(
            "bring {workload} back from revision {} to {}: {}",
            output.from_revision,
            output.to_revision,
            output.images.join(", ")
        )
    } else {
        format!("{workload} is at revision {} already: unchanged", output.to_revision)
    }
}
