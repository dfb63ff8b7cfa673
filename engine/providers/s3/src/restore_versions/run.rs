//! Part after part, a few at a time, each saved before it is begun.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use jm_client_s3::{Pace, S3Bucket, may_be_copied_in_parts};
use jm_step::{ArtefactRef, StepContext, StepError, Unit};
use tokio_util::task::AbortOnDropHandle;

use super::act::{Outcome, Worker};
use super::progress::{Asked, Begun, Counts, Progress};
use super::walk::{Part, Rules, Walk};
use super::{EXAMPLES, Input, Output, SKEW, some};
use crate::alike::Alike;
use crate::unfinished;

/// So many parts are under way at once.
const PARTS_AT_ONCE: usize = 4;
/// So many requests are sent at once before the store has shown what it can take.
pub(super) const START: usize = 16;
/// So many keys that somebody changed are named of each part.
const LOGGED: usize = 20;
/// How often an archive is asked whether it is ready.
const ARCHIVE_LOOK: Duration = Duration::from_mins(5);

/// What came of it.
pub(super) struct Done {
    pub(super) progress: Progress,
    pub(super) all_failures: Option<ArtefactRef>,
    /// Where keys could not be brought back.
    pub(super) error: Option<StepError>,
}

/// A part under way.
struct Running {
    upto: String,
    /// What the attempt before had begun, where this part is done a second time.
    before: Option<Counts>,
    task: AbortOnDropHandle<Result<Outcome, StepError>>,
}

/// A restore under way.
struct Restore<'a> {
    cx: &'a StepContext,
    bucket: &'a S3Bucket,
    input: &'a Input,
    pace: Pace,
    look: bool,
    keeps: bool,
    acls: bool,
    progress: Progress,
    alike: Alike,
    /// Why the first key could not be brought back, and the first of those in an archive.
    error: Option<StepError>,
    in_archive: Option<StepError>,
}

pub(super) async fn restore(
    cx: &StepContext,
    bucket: &S3Bucket,
    input: &Input,
    rules: Rules,
) -> Result<Done, StepError> {
    let before = before(cx, bucket, input)?;
    let again = before.is_some();
    let progress = before.unwrap_or_else(|| Progress::new(cx.now()));
    if progress.begun.is_empty() {
        unfinished::end_own(cx, bucket, &input.prefix, None, |_| false).await;
    }
    let mut restore = Restore {
        cx,
        bucket,
        input,
        pace: Pace::new(START, input.concurrency),
        look: rules.by_kms || bucket.is_website().await,
        keeps: !rules.nulls_are_lost,
        acls: bucket.has_acls().await,
        progress,
        alike: Alike::default(),
        error: None,
        in_archive: None,
    };
    if let Err(error) = restore.walks(rules, again).await {
        // Without a word of the store nothing was begun.
        if restore.progress.began_there.is_some() {
            cx.save_output(&input.failed(bucket.reader(), restore.progress)).await?;
        }
        return Err(error);
    }
    restore.end().await
}

/// Where the attempt before this one was. Of one that the run does anew, only when it began is known.
fn before(cx: &StepContext, bucket: &S3Bucket, input: &Input) -> Result<Option<Progress>, StepError> {
    if let Some(progress) = cx.checkpoint()? {
        return Ok(Some(progress));
    }
    let failed: Option<Output> = cx.saved_output()?;
    let began = failed.and_then(|output| output.began.filter(|_| output.is_of(input, bucket.reader())));
    Ok(began.map(|began| Progress {
        began_there: Some(began),
        asked: input.archived.ask.then(Asked::anywhere),
        ..Progress::new(cx.now())
    }))
}

/// The error of a restore that leaves keys as they are.
pub(super) fn not_brought_back(failed: u64, first: StepError) -> StepError {
    first.context(format!("{failed} keys could not be brought back; the first"))
}

/// What is told where ACLs could not be kept.
pub(super) fn left_behind(shared: u64) -> String {
    format!(
        "{shared} of the versions that were copied back gave others rights by an ACL that could not be set again, or may have \
         done so, for it could not be read: let jm do `s3:GetObjectVersionAcl` and `s3:PutObjectVersionAcl`, set it with \
         `aws s3api put-object-acl`, or give those rights by the bucket's policy"
    )
}

/// What is told where keys were changed while the restore was cut off.
pub(super) fn changed_since(count: u64, first: &[String]) -> String {
    format!(
        "{count} keys that were right when this restore began, or came back by it, were written or deleted anew since and are \
         left as they are ({}): to have their old content all the same, run the step in a run of its own, such as by \
         `jm step run s3.restore_versions`",
        some(count, first)
    )
}

fn stopped() -> StepError {
    StepError::cancelled("told to stop in the middle of a restore")
}

impl Restore<'_> {
    /// Through all keys, and again for what has to come out of an archive.
    async fn walks(&mut self, rules: Rules, again: bool) -> Result<(), StepError> {
        loop {
            let only_archived = self.progress.walk > 1;
            self.walk(Rules {
                only_archived,
                since: (again || only_archived).then(|| self.progress.since()),
                ..rules
            })
            .await?;
            let (waiting, _) = self.progress.counts.in_archive();
            if waiting == 0 || !rules.ask_archive {
                return Ok(());
            }
            self.cx
                .log(format!("{waiting} versions are on their way out of the archive"))
                .await;
            self.progress.walk += 1;
            self.progress.after = None;
            self.cx.save_checkpoint(&self.progress).await?;
            tokio::select! {
                () = tokio::time::sleep(ARCHIVE_LOOK) => {}
                () = self.cx.cancelled() => return Err(stopped()),
            }
        }
    }

    /// Once through all keys after the last one that is done.
    async fn walk(&mut self, rules: Rules) -> Result<(), StepError> {
        let after = self.progress.after.clone();
        if after.is_none() {
            self.progress.forget_archived();
            self.in_archive = None;
        }
        let mut walk = Walk::new(
            self.bucket.reader().clone(),
            self.pace.clone(),
            &self.input.prefix,
            rules,
            after.as_deref(),
        );
        walk.look_between(self.progress.asked.clone());
        let mut running = VecDeque::new();
        if let Some(first) = self.again(&mut walk).await? {
            running.push_back(first);
        }
        let mut more = true;
        while more || !running.is_empty() {
            while more && running.len() < PARTS_AT_ONCE {
                let part = self.stoppable(walk.next()).await??;
                self.progress.began_there = self.progress.began_there.or(walk.began());
                match part {
                    Some(part) => running.push_back(self.begin(part).await?),
                    None => more = false,
                }
            }
            if let Some(part) = running.pop_front() {
                let outcome = self.stoppable(part.task).await?;
                let outcome =
                    outcome.map_err(|error| StepError::failed("a part of the restore was ended").source(error))??;
                self.finished(part.upto, part.before, outcome).await?;
            }
        }
        Ok(())
    }

    /// What an attempt before this one had begun is done again, as one part.
    async fn again(&mut self, walk: &mut Walk) -> Result<Option<Running>, StepError> {
        let Some(last) = self.progress.begun.last() else {
            return Ok(None);
        };
        walk.stop_at(last.upto.clone());
        let upto = last.upto.clone();
        let mut planned = Counts::default();
        for begun in &self.progress.begun {
            planned.add(&begun.planned);
        }
        self.progress.begun.clear();
        let Some(part) = self.stoppable(walk.next()).await?? else {
            return Ok(None);
        };
        self.progress
            .ask_for(part.sunk.iter().map(|version| version.key.as_str()));
        self.progress.begun.push(Begun {
            upto,
            planned: planned.clone(),
        });
        self.end_unfinished(&part).await;
        let mut running = self.start(part, true);
        running.before = Some(planned);
        Ok(Some(running))
    }

    /// Ends the copies in parts that an attempt before this one was at. Of everything else under the prefix others are the
    /// authors, whenever they began.
    async fn end_unfinished(&self, part: &Part) {
        let copies = part.copies.iter().map(|copy| &copy.target);
        let in_parts = copies.filter(|target| may_be_copied_in_parts(target));
        let own: HashSet<&str> = in_parts.map(|target| target.key.as_str()).collect();
        let began = Some(self.progress.began);
        unfinished::end_own(self.cx, self.bucket, &self.input.prefix, began, |key| own.contains(key)).await;
    }

    async fn begin(&mut self, part: Part) -> Result<Running, StepError> {
        self.progress
            .ask_for(part.sunk.iter().map(|version| version.key.as_str()));
        self.progress.begun.push(Begun {
            upto: part.upto.clone(),
            planned: part.planned.clone(),
        });
        self.cx.save_checkpoint(&self.progress).await?;
        Ok(self.start(part, false))
    }

    fn start(&self, part: Part, again: bool) -> Running {
        let worker = Worker {
            bucket: self.bucket.clone(),
            pace: self.pace.clone(),
            ours_since: again.then(|| self.progress.began - SKEW),
            look: self.look,
            keeps: self.keeps,
            acls: self.acls,
            ask: self.input.archived.ask,
            days: self.input.archived.days,
            tier: self.input.archived.tier,
        };
        let at_once = self.input.concurrency;
        Running {
            upto: part.upto.clone(),
            before: None,
            task: AbortOnDropHandle::new(tokio::spawn(worker.carry_out(part, at_once))),
        }
    }

    async fn finished(&mut self, upto: String, before: Option<Counts>, mut outcome: Outcome) -> Result<(), StepError> {
        if let Some(before) = before {
            outcome.counts.credit(&before);
        }
        self.progress.begun.remove(0);
        self.progress.after = Some(upto);
        self.progress.shared += outcome.shared;
        self.tell_changed(outcome.changed).await;
        let counts = &mut self.progress.counts;
        if self.progress.walk == 1 {
            counts.add(&outcome.counts);
        } else {
            counts.came_from_archive(&outcome.counts);
        }
        let failures = outcome.failures.iter().chain(&outcome.in_archive);
        failures.for_each(|(_, error)| self.alike.take(error));
        self.alike.tell(self.cx, "keys").await?;
        for (failure, error) in outcome.failures {
            self.error.get_or_insert(error);
            let line = format!("`{}` could not be brought back: {}", failure.key, failure.reason);
            if self.progress.failures.add(failure) {
                self.cx.log(line).await;
            }
        }
        for (failure, error) in outcome.in_archive {
            self.in_archive.get_or_insert(error);
            self.progress.in_archive.add(failure);
        }
        let counts = &self.progress.counts;
        self.cx.progress(counts.keys, None, Unit::Items).await;
        if self.alike.is_hopeless() && counts.changed() + counts.as_it_was == 0 {
            let first = self.error.take().or(self.in_archive.take());
            return Err(first.unwrap_or_else(|| StepError::failed("nothing can be brought back")));
        }
        Ok(())
    }

    async fn tell_changed(&mut self, keys: Vec<String>) {
        let (count, first) = (keys.len() as u64, &keys[..keys.len().min(LOGGED)]);
        if count > 0 {
            let line = format!(
                "{count} keys were changed since this restore began: {}",
                some(count, first)
            );
            self.cx.log(line).await;
        }
        let room = EXAMPLES.saturating_sub(self.progress.changed.len());
        self.progress.changed.extend(keys.into_iter().take(room));
    }

    async fn end(mut self) -> Result<Done, StepError> {
        let failed = self.progress.counts.failed;
        let slowed = self.pace.times_slowed();
        if slowed > 0 {
            let line = format!("the store asked {slowed} times to slow down");
            self.cx.log(line).await;
        }
        let counts = &self.progress.counts;
        if counts.copied_back > 0 {
            let (verified, unverified) = (counts.verified(), counts.unverified);
            let line =
                format!("by the store's sums {verified} copies are as their versions; of {unverified} no sum tells");
            self.cx.log(line).await;
        }
        let (left, _) = counts.in_archive();
        if left > 0 {
            let line = format!("{left} versions lie in an archive and are left there, as `archived.ask: false` says");
            self.cx.log(line).await;
        }
        let in_archive = std::mem::take(&mut self.progress.in_archive);
        self.progress.failures.append(in_archive);
        if self.progress.shared > 0 {
            self.cx.degraded(left_behind(self.progress.shared)).await?;
        }
        if let Some(reason) = self.input.too_early(&self.progress.counts) {
            self.cx.degraded(reason).await?;
        }
        let changed = self.progress.counts.changed_since;
        if changed > 0 {
            let reason = changed_since(changed, &self.progress.changed);
            self.cx.degraded(reason).await?;
        }
        let mut all_failures = None;
        if let Some((lines, unknown)) = self.progress.failures.lines() {
            let name = "not-restored.jsonl";
            all_failures = Some(self.cx.artefact(name, lines).await?);
            if unknown > 0 {
                let line = format!(
                    "`{name}` lacks {unknown} of {failed} keys: the logs of earlier attempts name the first thousands of them, \
                     and the step tries all of them when it is run again"
                );
                self.cx.log(line).await;
            }
        }
        let error = (failed > 0).then(|| {
            let first = self
                .error
                .or(self.in_archive)
                .unwrap_or_else(|| StepError::failed("see the failures of the step's output"));
            not_brought_back(failed, first)
        });
        Ok(Done {
            progress: self.progress,
            all_failures,
            error,
        })
    }

    async fn stoppable<T>(&self, work: impl Future<Output = T>) -> Result<T, StepError> {
        tokio::select! {
            outcome = work => Ok(outcome),
            () = self.cx.cancelled() => Err(stopped()),
        }
    }
}
