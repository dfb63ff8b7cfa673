//! A sync under way: what was planned is saved first, so that whoever goes on tells the whole of it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use jm_client_s3::{Pace, is_written_in_parts};
use jm_step::{Change, Preview, ReadContext, StepContext, StepError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::act::{Worker, Writable};
use super::decide::{Counts, Plan, Rules, SHOWN, Transfer, decide};
use super::directory::LeftOut;
use super::known::KnownSums;
use super::notes::{self, Notes, Progress};
use super::side::{Found, Side};
use crate::alike::Alike;
use crate::begun::Noted;
use crate::unfinished::{self, Saved};
use crate::{PATIENCE, file};

/// So many requests are sent at once before the store has shown what it can take.
const START: usize = 16;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Where things came from: a directory, or such as `s3://bucket/prefix`.
    from: String,
    /// Where they went.
    to: String,
    #[serde(flatten)]
    counts: Counts,
    /// The first of those that could not be transferred.
    failures: Vec<LeftOut>,
    /// The first of those that were left out: special files, links, what no manifest speaks for.
    left_out: Vec<LeftOut>,
    /// How many were left out.
    left_out_count: u64,
    /// The first of those with other content that were kept.
    kept_names: Vec<String>,
}

/// Both ends, and how one becomes as the other is.
pub(super) struct Sync {
    pub(super) from: Side,
    pub(super) to: Side,
    pub(super) rules: Rules,
    pub(super) concurrency: usize,
}

impl Sync {
    /// `versions_first`: a step before this one brings back what the destination has versions of.
    pub(super) async fn preview(&self, cx: &ReadContext, versions_first: bool) -> Result<Preview<Output>, StepError> {
        self.preview_within(PATIENCE, cx, versions_first).await
    }

    pub(super) async fn preview_within(
        &self,
        patience: Duration,
        cx: &ReadContext,
        versions_first: bool,
    ) -> Result<Preview<Output>, StepError> {
        let Ok(plan) = tokio::time::timeout(patience, self.foresee(cx, versions_first)).await else {
            return Ok(Preview::declared(format!(
                "`{}` to `{}`: a preview has no time to compare all that is there, and a run does",
                self.from.shown(),
                self.to.shown()
            )));
        };
        let plan = plan?;
        let output = self.output(&plan, plan.planned(), Vec::new());
        let summary = plan.summary(&self.from, &self.to);
        Ok(if plan.is_empty() {
            Preview::verified(summary).predict(output)
        } else {
            Preview::computed(summary, plan.changes(&self.to)).predict(output)
        })
    }

    async fn foresee(&self, cx: &ReadContext, versions_first: bool) -> Result<Plan, StepError> {
        let known = self.known_sums(cx);
        let mut plan = decide(&self.from, &self.to, &self.rules, &known).await?;
        if versions_first && let Side::Bucket(to) = &self.to {
            plan.come_back(&to.with_versions(plan.missing()).await?);
        }
        Ok(plan)
    }

    pub(super) async fn run(self, cx: &StepContext, bucket: Option<Arc<dyn Writable>>) -> Result<Output, StepError> {
        let known = self.known_sums(cx);
        let plan = tokio::select! {
            plan = decide(&self.from, &self.to, &self.rules, &known) => plan?,
            () = cx.cancelled() => return Err(StepError::cancelled("told to stop while both sides were compared")),
        };
        if let Err(error) = known.keep().await {
            cx.log(error.to_string()).await;
        }
        let before = cx.checkpoint::<Progress>()?;
        let began = before.as_ref().and_then(|before| before.began);
        let mut planned = plan.planned().after(before.as_ref().map(|before| &before.planned));
        let noted = before.map(|before| before.uploads).unwrap_or_default();
        let going_on = self.end_unfinished(cx, &plan, bucket.as_deref(), began, noted).await;
        let notes = Notes::new(
            cx,
            Progress {
                planned: planned.clone(),
                began: Some(began.unwrap_or_else(|| cx.now())),
                uploads: going_on,
            },
        );
        if !plan.is_empty() {
            notes.save().await?;
        }
        let pace = Pace::new(START.min(self.concurrency), self.concurrency);
        let (from, to, rules) = (self.from.clone(), self.to.clone(), self.rules.clone());
        let worker = Worker::new(from, to, bucket, (rules, plan.forms.clone()), pace, &notes);
        let work = self.carry_out(cx, &worker, &plan);
        let (failures, first) = file::with_progress(cx, &worker.done, plan.counts.bytes, work).await?;
        if worker.pace.times_slowed() > 0 {
            let times = worker.pace.times_slowed();
            cx.log(format!("the store asked {times} times to slow down")).await;
        }
        // What an attempt before this one copied was compared with its source when this one began.
        planned.unverified = worker.unverified.load(Ordering::Relaxed);
        if planned.unverified > 0 {
            let unverified = planned.unverified;
            cx.log(format!(
                "of {unverified} copies no sum tells whether they are as they were written"
            ))
            .await;
        }
        let Some(first) = first else {
            for change in plan.changes(&self.to) {
                cx.changed(change).await;
            }
            return Ok(self.output(&plan, planned, Vec::new()));
        };
        self.told_partly(cx, &plan, &failures).await;
        let failed = failures.len();
        let output = self.output(&plan, planned.without(&plan, &failures), failures);
        cx.save_output(&output).await?;
        Err(first.context(format!(
            "{failed} names were not done, and what is surplus was left; the first"
        )))
    }

    fn known_sums(&self, cx: &ReadContext) -> KnownSums {
        let directory = [&self.from, &self.to].into_iter().find_map(Side::directory);
        directory.map_or_else(KnownSums::none, |directory| {
            KnownSums::of(&directory.root, cx.environment())
        })
    }

    /// Ends what an attempt before this one was sending when it was cut off, and gives what of it this one goes on with.
    async fn end_unfinished(
        &self,
        cx: &StepContext,
        plan: &Plan,
        bucket: Option<&dyn Writable>,
        began: Option<Timestamp>,
        noted: BTreeMap<String, Noted>,
    ) -> BTreeMap<String, Noted> {
        let (Side::Bucket(to), Some(bucket)) = (&self.to, bucket) else {
            return BTreeMap::new();
        };
        if plan.is_empty() && noted.is_empty() {
            return noted;
        }
        // What goes in one request leaves nothing behind: an upload in parts to such a key is another's.
        let in_parts = plan.transfers.iter().filter(|transfer| match &transfer.from {
            Found::File(file) => is_written_in_parts(file.bytes),
            Found::Object(object) => is_written_in_parts(object.bytes),
        });
        let wanted: HashSet<&str> = in_parts.map(|transfer| transfer.name.as_str()).collect();
        let names = wanted.iter().copied().chain(noted.keys().map(String::as_str));
        let own: HashSet<String> = names.map(|name| to.key(name)).collect();
        let mut going_on = noted.clone();
        going_on.retain(|name, _| wanted.contains(name.as_str()));
        let saved = Saved {
            going_on: notes::ids(&going_on),
            begun: notes::ids(&noted),
        };
        let is_own = |key: &str| own.contains(key);
        unfinished::end_own_but(cx, bucket.bucket(), &to.prefix, began, &saved, is_own).await;
        going_on
    }

    /// What was changed all the same.
    async fn told_partly(&self, cx: &StepContext, plan: &Plan, failures: &[LeftOut]) {
        let mut done = plan.clone();
        let failed = names(failures);
        done.transfers
            .retain(|transfer| !failed.contains(transfer.name.as_str()));
        done.deletions.clear();
        let changes: Vec<Change> = done.changes(&self.to);
        for change in changes {
            cx.changed(change).await;
        }
    }

    /// Those that failed, and the first error. Nothing is deleted where anything failed.
    async fn carry_out(
        &self,
        cx: &StepContext,
        worker: &Worker<'_>,
        plan: &Plan,
    ) -> Result<(Vec<LeftOut>, Option<StepError>), StepError> {
        let mut failed = Failed::default();
        let (last, first): (Vec<_>, Vec<_>) = plan.transfers.iter().partition(|transfer| transfer.last);
        self.do_all(cx, worker, first.into_iter().map(Task::Transfer).collect(), &mut failed)
            .await?;
        if failed.first.is_some() {
            // A manifest must not speak for what is not there.
            failed.names.extend(last.into_iter().map(|transfer| LeftOut {
                name: transfer.name.clone(),
                reason: "it comes last, and something before it failed".to_owned(),
            }));
            return Ok((failed.names, failed.first));
        }
        self.do_all(cx, worker, last.into_iter().map(Task::Transfer).collect(), &mut failed)
            .await?;
        if failed.first.is_none() {
            worker.settle().await?;
            let deletions = plan.deletions.iter().map(|name| Task::Delete(name)).collect();
            self.do_all(cx, worker, deletions, &mut failed).await?;
        }
        Ok((failed.names, failed.first))
    }

    /// Does these, so many at a time as the pace is at most.
    async fn do_all(
        &self,
        cx: &StepContext,
        worker: &Worker<'_>,
        tasks: Vec<Task<'_>>,
        failed: &mut Failed,
    ) -> Result<(), StepError> {
        let mut waiting = tasks.into_iter();
        let mut under_way = FuturesUnordered::new();
        let mut went_well = false;
        loop {
            under_way.extend(
                waiting
                    .by_ref()
                    .take(self.concurrency - under_way.len())
                    .map(|task| task.done_by(worker)),
            );
            let Some((name, outcome)) = under_way.next().await else {
                return Ok(());
            };
            match outcome {
                Ok(()) => went_well = true,
                Err(error) => {
                    failed.take(name, error);
                    failed.alike.tell(cx, "names").await?;
                }
            }
            let is_hopeless = failed.alike.is_hopeless() && !went_well;
            if let Some(error) = failed.first.take_if(|_| is_hopeless) {
                return Err(error);
            }
        }
    }

    fn output(&self, plan: &Plan, counts: Counts, failures: Vec<LeftOut>) -> Output {
        Output {
            from: self.from.shown(),
            to: self.to.shown(),
            counts,
            failures: failures.into_iter().take(SHOWN).collect(),
            left_out: plan.left_out.iter().take(SHOWN).cloned().collect(),
            left_out_count: plan.left_out.len() as u64,
            kept_names: plan.kept.iter().take(SHOWN).cloned().collect(),
        }
    }
}

/// One thing that is done.
#[derive(Clone, Copy)]
enum Task<'p> {
    Transfer(&'p Transfer),
    Delete(&'p str),
}

impl<'p> Task<'p> {
    async fn done_by(self, worker: &Worker<'_>) -> (&'p str, Result<(), StepError>) {
        match self {
            Self::Transfer(transfer) => (&transfer.name, worker.transfer(transfer).await),
            Self::Delete(name) => (name, worker.delete(name).await),
        }
    }
}

/// What was not done.
#[derive(Default)]
struct Failed {
    names: Vec<LeftOut>,
    first: Option<StepError>,
    alike: Alike,
}

impl Failed {
    fn take(&mut self, name: &str, error: StepError) {
        self.names.push(LeftOut {
            name: name.to_owned(),
            reason: error.message().to_owned(),
        });
        self.alike.take(&error);
        self.first.get_or_insert(error);
    }
}

fn names(failures: &[LeftOut]) -> HashSet<&str> {
    failures.iter().map(|failure| failure.name.as_str()).collect()
}

impl Counts {
    /// What an attempt before this one had planned and this one finds done was done by it.
    fn after(mut self, before: Option<&Self>) -> Self {
        let Some(before) = before else { return self };
        let created = before.created.saturating_sub(self.created);
        let overwritten = before.overwritten.saturating_sub(self.overwritten);
        self.created += created;
        self.overwritten += overwritten;
        self.unchanged = self.unchanged.saturating_sub(created + overwritten);
        self.bytes = self.bytes.max(before.bytes);
        self.deleted = self.deleted.max(before.deleted);
        self
    }

    /// Without those that failed.
    fn without(mut self, plan: &Plan, failures: &[LeftOut]) -> Self {
        self.failed = failures.len() as u64;
        let failed = names(failures);
        let has_failed = |transfer: &&Transfer| failed.contains(transfer.name.as_str());
        for transfer in plan.transfers.iter().filter(has_failed) {
            let count = if transfer.overwrites {
                &mut self.overwritten
            } else {
                &mut self.created
            };
            *count = count.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(transfer.from.bytes());
        }
        let transfers_failed = plan.transfers.iter().any(|transfer| has_failed(&transfer));
        self.deleted = if transfers_failed {
            0
        } else {
            self.deleted.saturating_sub(self.failed)
        };
        self
    }
}
