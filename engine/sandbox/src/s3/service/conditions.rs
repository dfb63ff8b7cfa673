//! Conditions of reads and writes, from headers.

use http::header;
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::super::store::{Condition, Reading};
use super::convert::{etag, timestamp};
use super::errors::{http_date, refused, with_headers};

/// The condition of a write.
pub(super) fn write(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> S3Result<Condition> {
    if matches!(if_none_match, Some(ETagCondition::ETag(_))) {
        let message = "A header you provided implies functionality that is not implemented: If-None-Match";
        return Err(refused(S3ErrorCode::NotImplemented, message));
    }
    Ok(Condition {
        if_match: if_match.map(|condition| condition.into_etag().map_or_else(|| "*".to_owned(), ETag::into_value)),
        if_none: if_none_match.is_some(),
    })
}

/// The conditions of a read.
#[derive(Debug, Default)]
pub(super) struct ReadConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

/// How a read goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Go,
    /// The reader has it already.
    NotModified,
    /// The condition of that header does not hold.
    Failed(&'static str),
}

impl ReadConditions {
    /// Refuses with 412, or 304 where the reader has the object already.
    pub(super) fn check(&self, reading: &Reading) -> S3Result<()> {
        let (tag, modified) = (etag(&reading.object().etag), timestamp(reading.modified));
        match self.verdict(&tag, &modified) {
            Verdict::Go => Ok(()),
            Verdict::Failed(header) => Err(failed(header)),
            Verdict::NotModified => Err(with_headers(
                S3ErrorCode::NotModified,
                "Not Modified",
                [
                    (header::ETAG, format!("\"{}\"", tag.value())),
                    (header::LAST_MODIFIED, http_date(&modified)),
                ],
            )),
        }
    }

    /// The same for the source of a copy, which has no 304.
    pub(super) fn check_source(&self, source: &Reading) -> S3Result<()> {
        match self.verdict(&etag(&source.object().etag), &timestamp(source.modified)) {
            Verdict::Go => Ok(()),
            Verdict::NotModified => Err(failed("x-amz-copy-source-If-None-Match")),
            Verdict::Failed(header) => Err(failed(header)),
        }
    }

    /// As HTTP orders them: a condition on the ETag outweighs the one on the date.
    fn verdict(&self, tag: &ETag, modified: &Timestamp) -> Verdict {
        let fits = |condition: &ETagCondition| condition.as_etag().is_none_or(|wanted| wanted.weak_cmp(tag));
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !fits(condition) => return Verdict::Failed("If-Match"),
            (None, Some(time)) if modified > time => return Verdict::Failed("If-Unmodified-Since"),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if fits(condition) => Verdict::NotModified,
            (None, Some(time)) if modified <= time => Verdict::NotModified,
            _ => Verdict::Go,
        }
    }
}

fn failed(header: &'static str) -> S3Error {
    let message = format!("At least one of the pre-conditions you specified did not hold: {header}");
    refused(S3ErrorCode::PreconditionFailed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        timestamp(jiff::Timestamp::from_second(second).unwrap())
    }

    fn tag(value: &str) -> ETagCondition {
        ETagCondition::ETag(etag(value))
    }

    fn verdict(conditions: &ReadConditions) -> Verdict {
        conditions.verdict(&etag("now"), &at(100))
    }

    #[test]
    fn etags_outweigh_dates() {
        let mut asked = ReadConditions {
            if_match: Some(tag("now")),
            if_unmodified_since: Some(at(50)),
            ..Default::default()
        };
        assert_eq!(verdict(&asked), Verdict::Go);
        asked.if_match = Some(tag("old"));
        assert_eq!(verdict(&asked), Verdict::Failed("If-Match"));
        let asked = ReadConditions {
            if_none_match: Some(tag("old")),
            if_modified_since: Some(at(200)),
            ..Default::default()
        };
        assert_eq!(verdict(&asked), Verdict::Go);
    }

    #[test]
    fn dates_count_to_the_second() {
        let since = |second| ReadConditions {
            if_modified_since: Some(at(second)),
            ..Default::default()
        };
        assert_eq!(verdict(&since(99)), Verdict::Go);
        assert_eq!(verdict(&since(100)), Verdict::NotModified);
        let unmodified = |second| ReadConditions {
            if_unmodified_since: Some(at(second)),
            ..Default::default()
        };
        assert_eq!(verdict(&unmodified(100)), Verdict::Go);
        assert_eq!(verdict(&unmodified(99)), Verdict::Failed("If-Unmodified-Since"));
    }

    #[test]
    fn a_write_that_must_not_find_an_etag_is_not_known() {
        assert!(write(None, Some(tag("x"))).is_err());
        assert!(write(None, Some(ETagCondition::Any)).unwrap().if_none);
        assert_eq!(write(Some(tag("x")), None).unwrap().if_match.as_deref(), Some("x"));
    }
}
