//! What the SDK loses of a page of versions.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_xml::decode::Document;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// Keeps what the SDK loses of an answer: the order of versions and markers, and when it was given.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Beside>>);

/// Whether each entry is a marker, `None` where the answer could not be read; and when it was given.
pub(super) type Beside = (Option<Vec<bool>>, Option<Timestamp>);

impl Kept {
    pub(super) fn take(&self) -> Beside {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for Kept {
    fn name(&self) -> &'static str {
        "order and time of versions"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let order = response
            .body()
            .bytes()
            .and_then(|body| order(std::str::from_utf8(body).ok()?));
        let date = response.headers().get("date");
        let answered = date.and_then(|date| Some(rfc2822::parse(date).ok()?.timestamp()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (order, answered);
        Ok(())
    }
}

fn order(xml: &str) -> Option<Vec<bool>> {
    let mut document = Document::new(xml);
    let mut root = document.root_element().ok()?;
    let mut order = Vec::new();
    while let Some(tag) = root.next_tag() {
        match tag.start_el().local() {
            "Version" => order.push(false),
            "DeleteMarker" => order.push(true),
            _ => {}
        }
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_answer() {
        let xml = "<ListVersionsResult><Name>b</Name><DeleteMarker><Key>a</Key></DeleteMarker><Version><Key>a</Key>\
                   <Owner><ID>Version</ID></Owner></Version><DeleteMarker/><IsTruncated>false</IsTruncated></ListVersionsResult>";
        assert_eq!(order(xml), Some(vec![true, false, true]));
        assert_eq!(order("no xml"), None);
    }
}
