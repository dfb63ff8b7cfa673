//! A lifecycle rule as people write it, and as S3 has it.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule as SdkRule,
    LifecycleRuleFilter, NoncurrentVersionExpiration, NoncurrentVersionTransition, Transition, TransitionStorageClass,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use jm_step::StepError;

/// When objects under a prefix expire, or move to another storage class. Days are counted from when an object was
/// written, or became an old version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LifecycleRule {
    /// Its name. A rule of the bucket with the same one is replaced, all others are left alone.
    pub id: String,
    /// Only objects whose full keys start with this.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Whether it is in force.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Objects are deleted after so many days. A bucket that keeps versions marks them as deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_after_days: Option<u16>,
    /// Markers of deleted objects are removed when no version is left under them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remove_lone_markers: bool,
    /// Old versions are deleted for good after so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_old_versions_after_days: Option<u16>,
    /// So many of the newest old versions stay all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_old_versions: Option<u16>,
    /// Uploads in parts that were begun and not finished are ended after so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_uploads_after_days: Option<u16>,
    /// Objects move to other classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub move_to: Vec<MoveTo>,
    /// Old versions move to other classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub move_old_versions_to: Vec<MoveTo>,
}

/// A move to another storage class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveTo {
    /// Such as `STANDARD_IA` or `GLACIER`.
    pub storage_class: String,
    /// After so many days.
    pub after_days: u16,
}

fn yes() -> bool {
    true
}

impl LifecycleRule {
    /// Whether it deletes content, be it of old versions.
    pub fn deletes(&self) -> bool {
        self.enabled && (self.expire_after_days.is_some() || self.expire_old_versions_after_days.is_some())
    }

    /// Whether it does anything at all.
    pub fn acts(&self) -> bool {
        self.expire_after_days.is_some()
            || self.remove_lone_markers
            || self.expire_old_versions_after_days.is_some()
            || self.abort_uploads_after_days.is_some()
            || !self.move_to.is_empty()
            || !self.move_old_versions_to.is_empty()
    }

    /// What a rule of the store says; `None` where that cannot be said here: filters by tag or size, and dates.
    pub(crate) fn read(rule: &SdkRule) -> Option<Self> {
        let filter = rule.filter();
        let other_filters = filter.is_some_and(|filter| {
            filter.tag().is_some()
                || filter.and().is_some()
                || filter.object_size_greater_than().is_some()
                || filter.object_size_less_than().is_some()
        });
        let dates = rule.expiration().is_some_and(|expiration| expiration.date().is_some())
            || rule.transitions().iter().any(|transition| transition.date().is_some())
            || rule
                .noncurrent_version_transitions()
                .iter()
                .any(|transition| transition.newer_noncurrent_versions().is_some());
        if other_filters || dates {
            return None;
        }
        // The older place of the prefix is still served.
        #[expect(deprecated, reason = "rules that were written long ago have it there")]
        let prefix = filter.and_then(|filter| filter.prefix()).or(rule.prefix());
        let expiration = rule.expiration();
        let old_versions = rule.noncurrent_version_expiration();
        Some(Self {
            id: rule.id().unwrap_or_default().to_owned(),
            prefix: prefix.unwrap_or_default().to_owned(),
            enabled: rule.status() == &ExpirationStatus::Enabled,
            expire_after_days: expiration.and_then(|expiration| days(expiration.days())),
            remove_lone_markers: expiration
                .is_some_and(|expiration| expiration.expired_object_delete_marker() == Some(true)),
            expire_old_versions_after_days: old_versions.and_then(|old| days(old.noncurrent_days())),
            keep_old_versions: old_versions.and_then(|old| days(old.newer_noncurrent_versions())),
            abort_uploads_after_days: rule
                .abort_incomplete_multipart_upload()
                .and_then(|abort| days(abort.days_after_initiation())),
            move_to: rule
                .transitions()
                .iter()
                .map(|transition| moved(transition.storage_class(), transition.days()))
                .collect::<Option<_>>()?,
            move_old_versions_to: rule
                .noncurrent_version_transitions()
                .iter()
                .map(|transition| moved(transition.storage_class(), transition.noncurrent_days()))
                .collect::<Option<_>>()?,
        })
    }

    /// The rule as the store takes it.
    pub(crate) fn written(&self) -> Result<SdkRule, StepError> {
        let expiration = (self.expire_after_days.is_some() || self.remove_lone_markers).then(|| {
            LifecycleExpiration::builder()
                .set_days(self.expire_after_days.map(i32::from))
                .set_expired_object_delete_marker(self.remove_lone_markers.then_some(true))
                .build()
        });
        let old_versions = self.expire_old_versions_after_days.map(|after| {
            NoncurrentVersionExpiration::builder()
                .noncurrent_days(i32::from(after))
                .set_newer_noncurrent_versions(self.keep_old_versions.map(i32::from))
                .build()
        });
        let abort = self.abort_uploads_after_days.map(|after| {
            AbortIncompleteMultipartUpload::builder()
                .days_after_initiation(i32::from(after))
                .build()
        });
        let moves = self.move_to.iter().map(|to| {
            Transition::builder()
                .days(i32::from(to.after_days))
                .storage_class(TransitionStorageClass::from(to.storage_class.as_str()))
                .build()
        });
        let old_moves = self.move_old_versions_to.iter().map(|to| {
            NoncurrentVersionTransition::builder()
                .noncurrent_days(i32::from(to.after_days))
                .storage_class(TransitionStorageClass::from(to.storage_class.as_str()))
                .build()
        });
        let status = if self.enabled {
            ExpirationStatus::Enabled
        } else {
            ExpirationStatus::Disabled
        };
        SdkRule::builder()
            .id(&self.id)
            .filter(LifecycleRuleFilter::builder().prefix(&self.prefix).build())
            .status(status)
            .set_expiration(expiration)
            .set_noncurrent_version_expiration(old_versions)
            .set_abort_incomplete_multipart_upload(abort)
            .set_transitions(some(moves.collect()))
            .set_noncurrent_version_transitions(some(old_moves.collect()))
            .build()
            .map_err(|error| {
                StepError::invalid_input(format!("lifecycle rule `{}` cannot be written", self.id)).source(error)
            })
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn days(days: Option<i32>) -> Option<u16> {
    days.and_then(|days| u16::try_from(days).ok())
}

fn moved(class: Option<&TransitionStorageClass>, after: Option<i32>) -> Option<MoveTo> {
    Some(MoveTo {
        storage_class: class?.as_str().to_owned(),
        after_days: days(after)?,
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::Tag;

    use super::*;

    #[test]
    fn a_rule_is_read_as_it_was_written() {
        let to = |class: &str, after_days| MoveTo {
            storage_class: class.to_owned(),
            after_days,
        };
        let whole = LifecycleRule {
            id: "all".to_owned(),
            prefix: "logs/".to_owned(),
            enabled: true,
            expire_after_days: Some(400),
            remove_lone_markers: false,
            expire_old_versions_after_days: Some(90),
            keep_old_versions: Some(3),
            abort_uploads_after_days: Some(7),
            move_to: vec![to("STANDARD_IA", 30), to("GLACIER", 90)],
            move_old_versions_to: vec![to("GLACIER_IR", 30)],
        };
        let markers = LifecycleRule {
            id: "markers".to_owned(),
            remove_lone_markers: true,
            ..LifecycleRule::default()
        };
        for rule in [whole, markers] {
            let written = rule.written().expect("a rule");
            assert_eq!(LifecycleRule::read(&written), Some(rule));
        }
    }

    #[test]
    fn what_cannot_be_said_is_not_taken_for_less() {
        let tag = Tag::builder().key("a").value("b").build().expect("a tag");
        let rule = SdkRule::builder()
            .id("tagged")
            .filter(LifecycleRuleFilter::builder().tag(tag).build())
            .status(ExpirationStatus::Enabled)
            .build()
            .expect("a rule");
        assert_eq!(LifecycleRule::read(&rule), None);
    }
}
