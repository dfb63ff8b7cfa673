//! `s3.bucket`: makes a bucket where it is missing, and sets it as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jm_client_s3::{Encryption, LifecycleRule, Ownership, Pace, S3, S3Bucket, S3Reader, VersioningStatus};
use jm_step::{
    Change, Effect, Expect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod settings;
use settings::Difference;

/// Makes a bucket, and sets it as it should be.
pub(crate) struct Bucket;

/// So often is a new bucket looked for, for it may not be seen everywhere at once.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// How many versions tell that a bucket is not empty: some stores do not get on with pages of one.
const LOOKED_AT: u16 = 10;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The bucket that is meant, by its name: where the target names another one, that is refused. Empty: whichever it names.
    #[serde(default)]
    name: String,
    /// Whether the bucket is made where it is missing; otherwise that fails the step.
    #[serde(default = "yes")]
    create: bool,
    /// Whether it keeps versions. What is left out here and below stays as it is.
    #[serde(default)]
    versioning: Option<WantedVersioning>,
    /// How it encrypts what is written without a word about it.
    #[serde(default)]
    encryption: Option<Encryption>,
    /// Whether a key of the bucket's own stands between KMS and its objects, which saves requests to KMS.
    #[serde(default)]
    bucket_key: Option<bool>,
    /// Whether anything in it may be public.
    #[serde(default)]
    public_access: Option<PublicAccess>,
    /// Who owns what others write to it.
    #[serde(default)]
    ownership: Option<Ownership>,
    /// When objects expire or move to other classes. Rules that are not named here stay.
    #[serde(default)]
    lifecycle: Vec<LifecycleRule>,
    /// Its tags. Those that are not named here stay.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// Its policy, which takes the place of the one there is.
    #[serde(default)]
    policy: Option<Map<String, Value>>,
}

/// Whether a bucket keeps versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WantedVersioning {
    /// It keeps every version.
    Enabled,
    /// It keeps no new ones. Those that it has stay.
    Suspended,
}

/// Whether anything in a bucket may be public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PublicAccess {
    /// No: neither ACLs nor policies make anything public.
    Blocked,
    /// As ACLs and policies say.
    Allowed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The bucket's name.
    bucket: String,
    /// Whether it was missing and has been made.
    created: bool,
    /// Whether it kept versions before; null where it was missing.
    versioning_before: Option<VersioningStatus>,
    /// Whether it keeps versions now.
    versioning: VersioningStatus,
    /// What was set, such as `versioning`, by name.
    changed: Vec<String>,
}

impl StepType for Bucket {
    const NAME: &'static str = "s3.bucket";
    const SUMMARY: &'static str = "makes a bucket where it is missing, and sets it as it should be";
    // A rule by which objects expire is in force at once.
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let issues = settings::issues(input);
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        settings::needs(input)
    }

    /// Only rules that delete cannot be taken back.
    fn effect(&self, input: &Known) -> Effect {
        let rules = input.get("lifecycle").cloned();
        let rules = rules.and_then(|rules| serde_json::from_value::<Vec<LifecycleRule>>(rules).ok());
        let deletes = rules.is_some_and(|rules| rules.iter().any(LifecycleRule::deletes));
        if deletes {
            Effect::Irreversible
        } else {
            Effect::Reversible
        }
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = match cx.read::<S3>().await {
            Ok(bucket) => bucket,
            Err(error) if input.makes_up_for(&error) => {
                let missing = cx.unreached::<S3>().await?;
                let name = missing.bucket();
                input.refuse_another(name)?;
                let changes = vec![input.creation(name)];
                let summary = format!("bucket `{name}` is missing and is made");
                return Ok(Preview::computed(summary, changes).predict(input.output_of_new(name)));
            }
            Err(error) => return Err(error),
        };
        input.refuse_another(bucket.bucket())?;
        let (output, differences) = settings::look(&bucket, input).await?;
        if differences.is_empty() {
            return Ok(Preview::verified(format!("bucket `{}` is as it should be", output.bucket)).predict(output));
        }
        let summary = format!("bucket `{}` gets another {}", output.bucket, output.changed.join(", "));
        let changes = differences.iter().map(|one| one.change(&output.bucket)).collect();
        Ok(Preview::computed(summary, changes).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let before = cx.saved_output::<Output>()?;
        let (bucket, made) = match cx.connect::<S3>().await {
            Ok(bucket) => (bucket, false),
            Err(error) if input.makes_up_for(&error) => (make(cx, &input).await?, true),
            Err(error) => return Err(error),
        };
        input.refuse_another(bucket.bucket())?;
        let (output, differences) = settings::look(bucket.reader(), &input).await?;
        let output = if made {
            Output {
                // What the store knows nothing of is not `never`.
                versioning: output.versioning,
                ..input.output_of_new(bucket.bucket())
            }
        } else {
            output.after(believed(bucket.reader(), before).await)
        };
        if !made && !differences.is_empty() {
            cx.save_output(&output).await?;
        }
        for difference in &differences {
            difference.apply(&bucket).await?;
            if !made {
                cx.changed(difference.change(bucket.bucket())).await;
            }
        }
        Ok(output)
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let Some(before) = cx.saved_output::<Output>()? else {
            return Ok(Probe::NotStarted);
        };
        let bucket = match cx.read::<S3>().await {
            Ok(bucket) => bucket,
            Err(error) if error.kind() == StepErrorKind::NotFound => return Ok(Probe::NotStarted),
            Err(error) => return Err(error),
        };
        let (output, differences) = settings::look(&bucket, input).await?;
        if differences.is_empty() {
            let before = believed(&bucket, Some(before)).await;
            return Ok(Probe::Succeeded(output.after(before)));
        }
        let left: Vec<&str> = differences.iter().map(Difference::name).collect();
        Ok(Probe::partial(format!(
            "bucket `{}` is there; not set yet: {}",
            output.bucket,
            left.join(", ")
        )))
    }
}

/// What an attempt before this one says, unless that was about to make a bucket which has something in it by now: that was
/// there all the time, and did not answer, or somebody else has made it.
async fn believed(bucket: &S3Reader, before: Option<Output>) -> Option<Output> {
    let before = before?;
    if !before.created {
        return Some(before);
    }
    let page = bucket.versions_page(&Pace::alone(), "", None, LOOKED_AT).await;
    // Who may not see that, or knows no versions, tells nothing against it.
    let is_empty = page.map_or(true, |page| page.entries.is_empty());
    is_empty.then_some(before)
}

/// Makes the bucket, and waits until it is seen.
async fn make(cx: &StepContext, input: &Input) -> Result<Arc<S3>, StepError> {
    let missing: Arc<S3> = cx.client_of_missing().await?;
    input.refuse_another(missing.bucket())?;
    // What came before is told by nothing else once the bucket is there.
    cx.save_output(input.output_of_new(missing.bucket())).await?;
    if let Err(error) = S3Bucket::create_bucket(&missing).await {
        // One without an answer may have been taken. After any other, what is there later is another's.
        if ![StepErrorKind::Unavailable, StepErrorKind::TimedOut].contains(&error.kind()) {
            cx.save_output(input.output_of_none(missing.bucket())).await?;
        }
        return Err(error);
    }
    cx.changed(input.creation(missing.bucket())).await;
    let mut looks = 1;
    loop {
        match cx.reopen::<S3>(Expect::New).await {
            Err(error) if error.kind() == StepErrorKind::NotFound && looks < LOOKS => looks += 1,
            outcome => return outcome,
        }
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            () = cx.cancelled() => return Err(StepError::cancelled("told to stop while the new bucket was looked for")),
        }
    }
}

fn yes() -> bool {
    true
}

impl Input {
    fn makes_up_for(&self, error: &StepError) -> bool {
        self.create && error.kind() == StepErrorKind::NotFound
    }

    fn refuse_another(&self, name: &str) -> Result<(), StepError> {
        if self.name.is_empty() || self.name == name {
            return Ok(());
        }
        Err(StepError::refused(format!(
            "the bucket `{}` is meant, and the target names `{name}`",
            self.name
        ))
        .hint("let the target name the bucket that is meant, or take its name out of the step"))
    }

    fn creation(&self, name: &str) -> Change {
        Change::create(format!("bucket `{name}`"), Value::Object(self.wanted()))
    }

    /// Nothing was done.
    fn output_of_none(&self, name: &str) -> Output {
        Output {
            created: false,
            changed: Vec::new(),
            ..self.output_of_new(name)
        }
    }

    fn output_of_new(&self, name: &str) -> Output {
        Output {
            bucket: name.to_owned(),
            created: true,
            versioning_before: None,
            versioning: match self.versioning {
                Some(WantedVersioning::Enabled) => VersioningStatus::Enabled,
                _ => VersioningStatus::Never,
            },
            changed: self
                .wanted()
                .keys()
                .cloned()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        }
    }
}

impl Output {
    /// What an attempt before this one had begun counts as done by it.
    fn after(mut self, before: Option<Self>) -> Self {
        let has_begun = |before: &Self| before.created || !before.changed.is_empty();
        let Some(before) = before.filter(|before| before.bucket == self.bucket && has_begun(before)) else {
            return self;
        };
        let changed: BTreeSet<String> = self.changed.into_iter().chain(before.changed).collect();
        self.changed = changed.into_iter().collect();
        self.created = before.created;
        self.versioning_before = before.versioning_before;
        self
    }
}

#[cfg(test)]
mod tests;
