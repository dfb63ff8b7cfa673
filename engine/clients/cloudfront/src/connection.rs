//! The side of CloudFront that writes, and the connection that targets files name `cloudfront`.

use std::ops::Deref;

use aws_sdk_cloudfront::error::BuildError;
use aws_sdk_cloudfront::operation::create_invalidation::CreateInvalidationError;
use aws_sdk_cloudfront::types::{InvalidationBatch, Paths};
use jm_client_aws::Access;
use jm_step::{
    Connection, Environment, Identity, InputIssue, NamedFile, OpenContext, Policy, PolicyForm, Right, Rights, Standing,
    StepError, StepErrorKind,
};

use serde_json::json;

use crate::error::Doing;
use crate::{Config, Invalidation, Origin, Reader, Snapshot};

/// The one action that is on no distribution.
const LIST: &str = "cloudfront:ListDistributions";
const GET: &str = "cloudfront:GetDistribution";

/// A target of provider `cloudfront`: one distribution.
#[derive(Debug, Clone)]
pub struct CloudFront(Reader);

/// What CloudFront says to a new invalidation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It is accepted; or it was before, under the same reference.
    Accepted(Invalidation),
    /// As many paths are being dropped as may be at a time: ask again later.
    Full,
}

impl Deref for CloudFront {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.0
    }
}

impl CloudFront {
    /// Drops cached paths. The same reference twice makes one invalidation.
    pub async fn invalidate(&self, paths: &[String], reference: &str) -> Result<Asked, StepError> {
        let id = self.id()?;
        let doing = Doing {
            verb: "drop cached paths of",
            what: id,
            permission: "cloudfront:CreateInvalidation",
        };
        let incomplete = |error| incomplete(&doing, error);
        let paths = Paths::builder()
            .quantity(i32::try_from(paths.len()).unwrap_or(i32::MAX))
            .set_items(Some(paths.to_vec()))
            .build()
            .map_err(incomplete)?;
        let batch = InvalidationBatch::builder()
            .paths(paths)
            .caller_reference(reference)
            .build()
            .map_err(incomplete)?;
        let call = self.0.client.create_invalidation().distribution_id(id);
        match call.invalidation_batch(batch).send().await {
            Ok(made) => made
                .invalidation()
                .map(|invalidation| Asked::Accepted(invalidation.into()))
                .ok_or_else(|| {
                    StepError::ambiguous(format!("{doing}: CloudFront answered without an invalidation"))
                        .hint("try again: it is the same invalidation then")
                }),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(CreateInvalidationError::is_too_many_invalidations_in_progress) =>
            {
                Ok(Asked::Full)
            }
            Err(error) => Err(doing.failed(&error)),
        }
    }

    /// Lets an origin be another place, if nobody has changed the distribution since the snapshot.
    pub async fn set_origin(&self, seen: &Snapshot, origin: &Origin) -> Result<(), StepError> {
        let id = self.id()?;
        let doing = Doing {
            verb: "change the origin of",
            what: id,
            permission: "cloudfront:UpdateDistribution",
        };
        let mut config = seen.config.clone();
        let mut items = config.origins.take().ok_or_else(|| no_origin(&doing, &origin.id))?;
        let found = items.items.iter_mut().find(|item| item.id == origin.id);
        let found = found.ok_or_else(|| no_origin(&doing, &origin.id))?;
        found.domain_name.clone_from(&origin.domain);
        found.origin_path = Some(origin.path.clone());
        config.origins = Some(items);
        let call = self.0.client.update_distribution().id(id).if_match(&seen.etag);
        let sent = call.distribution_config(config).send().await;
        sent.map(drop).map_err(|error| doing.failed(&error))
    }
}

fn incomplete(doing: &Doing<'_>, error: BuildError) -> StepError {
    StepError::failed(format!("{doing}: the request cannot be made")).source(error)
}

fn no_origin(doing: &Doing<'_>, id: &str) -> StepError {
    StepError::not_found(format!("{doing}: it has no origin `{id}`"))
        .hint("`jm step run cloudfront.distribution` lists its origins")
}

impl Connection for CloudFront {
    const PROVIDER: &'static str = "cloudfront";
    type Config = Config;
    type Reader = Reader;

    async fn open(config: Config, cx: &OpenContext) -> Result<Self, StepError> {
        Reader::open(&config, cx).await.map(Self)
    }

    fn check(config: &Config, environment: &Environment) -> Vec<InputIssue> {
        let wrong = config.access().check(environment).err();
        wrong.iter().map(|error| InputIssue::of("", error)).collect()
    }

    fn files(_: &Config, environment: &Environment) -> Vec<NamedFile> {
        Access::files(environment)
    }

    async fn ping(&self) -> Result<(), StepError> {
        self.0.ping().await
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        let one = |id: &str| Identity::single(format!("distribution {id}"));
        Ok(self.known_id().map(one).unwrap_or_default())
    }

    fn reader(&self) -> &Reader {
        &self.0
    }

    fn knows_right(right: &str) -> bool {
        right.starts_with("cloudfront:")
    }

    /// What reads is asked for by reading.
    async fn rights(reader: &Reader, needed: &Rights) -> Result<Vec<Right>, StepError> {
        let mut rights = Vec::new();
        for right in needed.iter() {
            let read = match *right {
                LIST => reader.list().await.map(drop),
                GET => reader.snapshot().await.map(drop),
                _ => {
                    rights.push(Right::new(*right, Standing::NotAsked).note("only doing it would tell"));
                    continue;
                }
            };
            rights.push(match read {
                Err(error) if error.kind() != StepErrorKind::Denied => return Err(error),
                read => Right::needed(*right, read.is_ok()),
            });
        }
        Ok(rights)
    }

    async fn policy(reader: &Reader, needed: &Rights, _: &str) -> Result<Option<Policy>, StepError> {
        let one = reader
            .known_id()
            .map(|id| format!("arn:aws:cloudfront::*:distribution/{id}"));
        let (all, on_one): (Vec<&str>, Vec<&str>) = needed.iter().partition(|right| **right == LIST);
        let mut statements = Vec::new();
        if !all.is_empty() {
            statements.push(json!({ "Effect": "Allow", "Action": all, "Resource": "*" }));
        }
        if let (Some(one), false) = (one, on_one.is_empty()) {
            statements.push(json!({ "Effect": "Allow", "Action": on_one, "Resource": one }));
        }
        let policy = json!({ "Version": "2012-10-17", "Statement": statements });
        Ok(Some(Policy {
            form: PolicyForm::Iam,
            text: format!("{policy:#}\n"),
        }))
    }
}
