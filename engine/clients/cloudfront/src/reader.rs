//! The side of CloudFront that cannot write.

use std::time::Duration;

use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::config::retry::RetryConfig;
use aws_sdk_cloudfront::config::timeout::TimeoutConfig;
use aws_sdk_cloudfront::config::{Builder, Region};
use aws_sdk_cloudfront::operation::get_distribution::GetDistributionError;
use aws_sdk_cloudfront::operation::get_invalidation::GetInvalidationError;
use aws_sdk_cloudfront::types::{DistributionConfig, DistributionList};
use jm_client_aws::given;
use jm_step::{OpenContext, StepError};

use crate::error::Doing;
use crate::{Config, Distribution, Invalidation};

/// How often a call is made that is throttled, finds CloudFront in trouble, or gets no answer. The SDK waits longer each
/// time, for a second, two, and four at most; steps that wait have more patience.
const TRIES: u32 = 4;
/// A sign of life does not take longer than this, with all its tries.
const PING: Duration = Duration::from_secs(15);

/// A distribution without a single method that writes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) client: Client,
    id: Option<String>,
}

/// A distribution as it was at one moment, with what proves that nobody changed it since.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What it is.
    pub distribution: Distribution,
    pub(crate) etag: String,
    pub(crate) config: DistributionConfig,
}

impl Reader {
    pub(crate) async fn open(config: &Config, cx: &OpenContext) -> Result<Self, StepError> {
        let shared = config.access().load(cx).await?;
        let own = Builder::from(&shared)
            // The service is a global one, and the signature needs a region.
            .region(Region::new("us-east-1"))
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
            .build();
        Ok(Self {
            client: Client::from_conf(own),
            id: given(Some(&config.distribution)).map(str::to_owned),
        })
    }

    /// The distribution's id. Only [`Reader::list`] does without one.
    pub fn id(&self) -> Result<&str, StepError> {
        self.known_id().ok_or_else(|| {
            StepError::invalid_input("it is not said which distribution is meant")
                .hint("set CLOUDFRONT_DISTRIBUTION_ID; `jm step run cloudfront.list` tells which there are")
        })
    }

    pub(crate) fn known_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Asks for a sign of life. That there is no such distribution is one: the steps say what to do about it.
    pub async fn ping(&self) -> Result<(), StepError> {
        let brief = TimeoutConfig::builder().operation_timeout(PING).build();
        let brief = Builder::new().timeout_config(brief);
        let Some(id) = self.known_id() else {
            let call = self.client.list_distributions().max_items(1).customize();
            let sent = call.config_override(brief).send().await;
            return sent.map(drop).map_err(|error| LISTING.failed(&error));
        };
        let call = self.client.get_distribution().id(id).customize();
        match call.config_override(brief).send().await {
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetDistributionError::is_no_such_distribution) =>
            {
                Ok(())
            }
            sent => sent.map(drop).map_err(|error| looking(id).failed(&error)),
        }
    }

    /// Every distribution that the credentials may see.
    pub async fn list(&self) -> Result<Vec<Distribution>, StepError> {
        let mut found = Vec::new();
        let mut marker = None;
        loop {
            let page = self.client.list_distributions().set_marker(marker).send().await;
            let page = page.map_err(|error| LISTING.failed(&error))?;
            let Some(list) = page.distribution_list() else {
                return Ok(found);
            };
            found.extend(list.items().iter().map(Distribution::of_summary));
            marker = next(list)?;
            if marker.is_none() {
                return Ok(found);
            }
        }
    }

    /// The distribution. That there is none is an error.
    pub async fn snapshot(&self) -> Result<Snapshot, StepError> {
        let id = self.id()?;
        let found = self.client.get_distribution().id(id).send().await;
        let found = found.map_err(|error| looking(id).failed(&error))?;
        let etag = found.e_tag().unwrap_or_default().to_owned();
        let told = found.distribution();
        let config = told.and_then(|told| told.distribution_config().cloned());
        let (Some(told), Some(config)) = (told, config) else {
            return Err(StepError::failed(format!(
                "{}: the answer holds no distribution",
                looking(id)
            )));
        };
        Ok(Snapshot {
            distribution: Distribution::of_config(told.id(), told.domain_name(), told.status(), &config),
            etag,
            config,
        })
    }

    /// One of the distribution's invalidations; `None` where there is none of this id.
    pub async fn invalidation(&self, invalidation: &str) -> Result<Option<Invalidation>, StepError> {
        let id = self.id()?;
        let call = self.client.get_invalidation().distribution_id(id).id(invalidation);
        match call.send().await {
            Ok(found) => Ok(found.invalidation().map(Invalidation::from)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetInvalidationError::is_no_such_invalidation) =>
            {
                Ok(None)
            }
            Err(error) => {
                let doing = Doing {
                    verb: "look at the invalidation",
                    what: &format!("{id}/{invalidation}"),
                    permission: "cloudfront:GetInvalidation",
                };
                Err(doing.failed(&error))
            }
        }
    }
}

/// Where a list goes on; nothing where it is whole.
fn next(list: &DistributionList) -> Result<Option<String>, StepError> {
    let marker = list.next_marker().filter(|next| !next.is_empty()).map(str::to_owned);
    match marker {
        _ if !list.is_truncated() => Ok(None),
        Some(marker) => Ok(Some(marker)),
        None => Err(StepError::failed(format!(
            "{LISTING}: the list is not whole, and does not say where it goes on"
        ))
        .hint("see whether what answers under the endpoint is CloudFront; name the distribution where it is known")),
    }
}

const LISTING: Doing<'static> = Doing {
    verb: "list all distributions",
    what: "",
    permission: "cloudfront:ListDistributions",
};

fn looking(id: &str) -> Doing<'_> {
    Doing {
        verb: "look at",
        what: id,
        permission: "cloudfront:GetDistribution",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_breaks_off_is_not_a_whole_one() {
        let list = |truncated: bool, marker: &str| {
            let list = DistributionList::builder().marker("").max_items(100).quantity(0);
            list.is_truncated(truncated)
                .next_marker(marker)
                .build()
                .expect("complete")
        };
        assert_eq!(next(&list(true, "E2")).expect("whole"), Some("E2".to_owned()));
        assert_eq!(next(&list(false, "")).expect("whole"), None);
        let error = next(&list(true, "")).expect_err("broken off");
        assert!(error.message().contains("is not whole"), "{error}");
    }
}
