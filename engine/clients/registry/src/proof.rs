//! What a registry wants to see before it answers: a name and password, or a token that another host gives for them.

use http_auth::ChallengeRef;
use jm_client_http::{Http, Reply, Request, Url, is_loopback};
use jm_step::{Secret, StepError};
use serde::Deserialize;

use crate::image::ImageRef;
use crate::login::Login;
use crate::place;

/// What the registry asked for.
enum Challenge {
    Basic,
    /// A token of this address, for this service.
    Bearer {
        realm: String,
        service: String,
    },
}

#[derive(Deserialize)]
struct Token {
    /// As registries have it.
    token: Option<Secret>,
    /// As OAuth 2 has it.
    access_token: Option<Secret>,
}

/// What goes into the header `Authorization` after an answer of 401.
pub(crate) async fn of(
    http: &Http,
    refusal: &Reply,
    image: &ImageRef<'_>,
    login: Option<&Login>,
) -> Result<Secret, StepError> {
    match challenge(refusal) {
        Some(Challenge::Bearer { realm, service }) => token(http, (&realm, &service), image, login).await,
        Some(Challenge::Basic) => login.map(Login::basic).ok_or_else(|| denied(image, login)),
        None => Err(denied(image, login)),
    }
}

/// Who asked may not look.
pub(crate) fn denied(image: &ImageRef<'_>, login: Option<&Login>) -> StepError {
    let who = match login {
        Some(login) => format!("user `{}`", login.user),
        None => "somebody without a login".to_owned(),
    };
    StepError::denied(format!(
        "registry `{}` does not let {who} look at `{}`",
        place::host(image),
        image.name
    ))
}

fn challenge(refusal: &Reply) -> Option<Challenge> {
    let challenges = http_auth::parse_challenges(refusal.header("www-authenticate")?).ok()?;
    let bearer = challenges.iter().find(|one| one.scheme.eq_ignore_ascii_case("bearer"));
    if let Some(bearer) = bearer {
        return Some(Challenge::Bearer {
            realm: parameter(bearer, "realm")?,
            service: parameter(bearer, "service").unwrap_or_default(),
        });
    }
    let basic = challenges.iter().any(|one| one.scheme.eq_ignore_ascii_case("basic"));
    basic.then_some(Challenge::Basic)
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}

/// Fetches a token that allows to pull the image, and nothing else.
async fn token(
    http: &Http,
    (realm, service): (&str, &str),
    image: &ImageRef<'_>,
    login: Option<&Login>,
) -> Result<Secret, StepError> {
    let host = place::host(image);
    let mut url: Url = realm.parse().map_err(|_| {
        StepError::failed(format!(
            "registry `{host}` sends for a token to `{realm}`, which is no address"
        ))
    })?;
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err(StepError::failed(format!(
            "registry `{host}` sends for a token to `{realm}`, over a line that everybody can read"
        )));
    }
    let scope = format!("repository:{}:pull", place::path(image));
    url.query_pairs_mut()
        .append_pair("service", service)
        .append_pair("scope", &scope);
    let mut request = Request::new("GET", url)?;
    if let Some(login) = login {
        request = request.header("authorization", login.basic());
    }
    let reply = http.send(&request).await?;
    match reply.status {
        200 => read(&reply, realm),
        401 | 403 => Err(denied(image, login)),
        429 | 500..=599 => Err(StepError::unavailable(format!(
            "`{realm}`, which gives the tokens of registry `{host}`, answers {}",
            reply.status
        ))),
        status => Err(StepError::failed(format!(
            "`{realm}`, which gives the tokens of registry `{host}`, answers {status}"
        ))),
    }
}

fn read(reply: &Reply, realm: &str) -> Result<Secret, StepError> {
    let token: Option<Token> = serde_json::from_slice(&reply.body).ok();
    let token = token.and_then(|token| token.token.or(token.access_token));
    let token = token.ok_or_else(|| StepError::failed(format!("what `{realm}` answers holds no token")))?;
    Ok(Secret::new(format!("Bearer {}", token.expose())))
}
