//! Who asks: a name and a password, given or found where clusters keep them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jm_step::Secret;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::image::ImageRef;
use crate::place;

/// A login of a registry.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Its user.
    pub user: String,
    /// Its password, or a token that stands for one.
    pub password: Secret,
}

impl Login {
    /// The login that a configuration of Docker's form (`{"auths": {"HOST": …}}`) has for an image: of several that fit the
    /// one whose path is the longest.
    pub fn find(configuration: &Value, image: &ImageRef<'_>) -> Option<Self> {
        let wanted = format!("{}/{}", place::host(image), place::path(image));
        let entries = configuration.get("auths")?.as_object()?;
        let fitting = entries.iter().filter_map(|(at, entry)| {
            let at = normal(at);
            let fits = wanted.strip_prefix(&at).is_some_and(|rest| rest.starts_with('/'));
            Some((at.len(), Self::read(entry)?)).filter(|_| fits)
        });
        fitting.max_by_key(|(length, _)| *length).map(|(_, login)| login)
    }

    fn read(entry: &Value) -> Option<Self> {
        let text = |field: &str| entry.get(field)?.as_str().filter(|text| !text.is_empty());
        if let (Some(user), Some(password)) = (text("username"), text("password")) {
            return Some(Self::new(user, password));
        }
        let both = STANDARD.decode(text("auth")?).ok()?;
        let both = String::from_utf8(both).ok()?;
        let (user, password) = both.trim_end_matches(['\n', '\0']).split_once(':')?;
        Some(Self::new(user, password))
    }

    fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: Secret::new(password),
        }
    }

    /// As the header `Authorization` has it.
    pub(crate) fn basic(&self) -> Secret {
        let both = format!("{}:{}", self.user, self.password.expose());
        Secret::new(format!("Basic {}", STANDARD.encode(both)))
    }
}

/// `https://index.docker.io/v1/` and `ghcr.io/your-org` in one form: a host, and a path where there is one.
fn normal(at: &str) -> String {
    let at = at.split_once("://").map_or(at, |(_, rest)| rest);
    let (host, path) = at.split_once('/').unwrap_or((at, ""));
    let path = path.trim_end_matches('/');
    match path {
        "" | "v1" | "v2" => place::known_as(host).to_owned(),
        path => format!("{}/{path}", place::known_as(host)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(configuration: &Value, image: &str) -> Option<(String, String)> {
        let login = Login::find(configuration, &ImageRef::parse(image).expect("a reference"))?;
        Some((login.user, login.password.expose().to_owned()))
    }

    #[test]
    fn the_entry_that_fits_best_is_taken() {
        let configuration = json!({ "auths": {
            "ghcr.io": { "auth": STANDARD.encode("all:one") },
            "https://ghcr.io/your-org": { "username": "org", "password": "two" },
            "https://index.docker.io/v1/": { "auth": STANDARD.encode("hub:three:with-colon") },
            "localhost:5000": { "username": "", "password": "", "auth": STANDARD.encode("local:four") },
            "broken.example": { "auth": "%%%" },
        } });
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(found(&configuration, "ghcr.io/other/web:1"), pair("all", "one"));
        assert_eq!(found(&configuration, "ghcr.io/your-org/web:1"), pair("org", "two"));
        assert_eq!(
            found(&configuration, "ghcr.io/your-organisation/web:1"),
            pair("all", "one")
        );
        assert_eq!(found(&configuration, "nginx"), pair("hub", "three:with-colon"));
        assert_eq!(
            found(&configuration, "docker.io/team/web:1"),
            pair("hub", "three:with-colon")
        );
        assert_eq!(found(&configuration, "localhost:5000/web:1"), pair("local", "four"));
        assert_eq!(found(&configuration, "broken.example/web:1"), None);
        assert_eq!(found(&configuration, "quay.io/web:1"), None);
        assert_eq!(found(&json!({}), "nginx"), None);
    }
}
