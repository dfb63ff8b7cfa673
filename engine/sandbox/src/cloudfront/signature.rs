//! Who asks: a request has to be signed, by AWS Signature Version 4, with the key that the stand-in knows. AWS's own crate
//! signs what came in once more, and the signatures have to be the same.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::time::SystemTime;

use aws_sdk_s3::config::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::StatusCode;
use http::request::Parts;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::reply::Refusal;

/// What the scope of a key has to name.
const SERVICE: &str = "cloudfront";
const DATE: &str = "x-amz-date";
const CONTENT: &str = "x-amz-content-sha256";

/// The key that is known.
pub(super) struct Key {
    pub(super) access_key: String,
    pub(super) secret_key: String,
}

/// What `Authorization` says.
struct Said<'r> {
    access_key: &'r str,
    region: &'r str,
    service: &'r str,
    headers: Vec<&'r str>,
    signature: &'r str,
}

impl<'r> Said<'r> {
    fn of(parts: &'r Parts) -> Option<Self> {
        let said = parts.headers.get("authorization")?.to_str().ok()?;
        let fields = said.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let field = |name: &str| {
            let mut all = fields.split(',').filter_map(|field| field.trim().split_once('='));
            all.find(|(found, _)| *found == name).map(|(_, value)| value)
        };
        let mut scope = field("Credential")?.split('/');
        let (access_key, _date) = (scope.next()?, scope.next()?);
        Some(Self {
            access_key,
            region: scope.next()?,
            service: scope.next()?,
            headers: field("SignedHeaders")?.split(';').collect(),
            signature: field("Signature")?,
        })
    }
}

impl Key {
    /// Refuses what this key has not signed.
    pub(super) fn check(&self, parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
        let Some(said) = Said::of(parts).filter(|said| said.access_key == self.access_key) else {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            ));
        };
        match self.sign(parts, body, &said) {
            Some(signature) if said.service == SERVICE && signature == said.signature => Ok(()),
            _ => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method.",
            )),
        }
    }

    /// The signature that this key makes under what was signed; `None` where that cannot be signed.
    fn sign(&self, parts: &Parts, body: &[u8], said: &Said<'_>) -> Option<String> {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let mut settings = SigningSettings::default();
        settings.excluded_headers = None;
        if said.headers.contains(&CONTENT) {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let identity = Credentials::new(&self.access_key, &self.secret_key, None, None, "sandbox").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(said.region)
            .name(said.service)
            .time(time(header(DATE)?)?)
            .settings(settings)
            .build()
            .ok()?;
        // Those two are made anew.
        let signed = said.headers.iter().filter(|name| ![DATE, CONTENT].contains(name));
        let headers: Vec<(&str, &str)> = signed.map(|name| Some((*name, header(name)?))).collect::<Option<_>>()?;
        let method = parts.method.as_str();
        let way = parts.uri.path_and_query()?.as_str();
        let request = SignableRequest::new(method, way, headers.into_iter(), SignableBody::Bytes(body)).ok()?;
        let signed = sign(request, &params.into()).ok()?;
        Some(signed.signature().to_owned())
    }
}

/// A moment such as `20261126T080000Z`.
fn time(text: &str) -> Option<SystemTime> {
    let moment = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(moment.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
}
