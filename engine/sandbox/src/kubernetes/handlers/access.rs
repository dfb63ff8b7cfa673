//! Who may do what: the administrator everything, the viewer nothing but look.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::super::object;
use super::super::pki::User;
use super::super::reply::Reply;
use super::super::request::Call;
use super::super::status::ApiError;
use super::body;

const REVIEW: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// May the user do this to that resource?
pub(in super::super) fn allows(user: User, verb: &str, resource: &str) -> bool {
    user == User::Admin || (["get", "list", "watch"].contains(&verb) && resource != "secrets")
}

/// Answers `SelfSubjectAccessReview`: what `kubectl auth can-i` asks.
pub(in super::super) fn review(call: &Call, user: User, body: &Bytes) -> Option<Result<Reply, ApiError>> {
    (call.path == REVIEW && call.method == Method::POST).then(|| {
        let review = body::parse(call, body)?;
        Ok(Reply::json(201, &reviewed(review, user)))
    })
}

fn reviewed(mut review: Value, user: User) -> Value {
    let asked = |field: &str| object::text(&review, &format!("/spec/resourceAttributes/{field}")).to_owned();
    let verb = match asked("verb").as_str() {
        "" => object::text(&review, "/spec/nonResourceAttributes/verb").to_owned(),
        verb => verb.to_owned(),
    };
    let allowed = allows(user, &verb, &asked("resource"));
    for (field, value) in [
        ("apiVersion", "authorization.k8s.io/v1"),
        ("kind", "SelfSubjectAccessReview"),
    ] {
        review[field] = json!(value);
    }
    object::set_default(&mut review, &["metadata"], json!({}));
    review["status"] = json!({"allowed": allowed});
    review
}
