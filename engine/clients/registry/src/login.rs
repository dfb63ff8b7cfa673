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
    /// The login that configurations of Docker's form (`{"auths": {"HOST": …}}`) have for an image: of all that fit, the one
    /// that says most about where it is for. Parts of a host's name may be patterns, such as `*.registry.example`.
    pub fn find(configurations: &[Value], image: &ImageRef<'_>) -> Option<Self> {
        let (host, path) = (place::host(image), place::path(image));
        let all = configurations.iter().filter_map(|one| one.get("auths")?.as_object());
        let fitting = all.flatten().filter_map(|(at, entry)| {
            let (of_host, of_path) = normal(at);
            let fits = is_host(&of_host, host) && is_beneath(&of_path, &path);
            let says = (of_path.len(), !of_host.contains(PATTERN), of_host.len());
            Some((says, Self::read(entry)?)).filter(|_| fits)
        });
        // Of those that say the same, the first: so nodes try them.
        let best = fitting.reduce(|best, other| if other.0 > best.0 { other } else { best });
        best.map(|(_, login)| login)
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

/// What makes a part of a host's name a pattern.
const PATTERN: [char; 2] = ['*', '?'];

/// `https://index.docker.io/v1/` and `ghcr.io/your-org` in one form: a host, and a path, which may be empty.
fn normal(at: &str) -> (String, String) {
    let at = at.split_once("://").map_or(at, |(_, rest)| rest);
    let (host, path) = at.split_once('/').unwrap_or((at, ""));
    let path = path.trim_end_matches('/');
    let path = match path.split_once('/').unwrap_or((path, "")) {
        ("v1" | "v2", rest) => rest,
        _ => path,
    };
    (place::known_as(host).to_owned(), path.to_owned())
}

/// Whether a host is the one that is meant, part by part of its name, and with the same port.
fn is_host(meant: &str, host: &str) -> bool {
    let split = |at: &'_ str| match at.rsplit_once(':') {
        Some((name, port)) => (name.to_owned(), Some(port.to_owned())),
        None => (at.to_owned(), None),
    };
    let ((meant, wanted_port), (host, port)) = (split(meant), split(host));
    wanted_port == port
        && meant.split('.').count() == host.split('.').count()
        && meant
            .split('.')
            .zip(host.split('.'))
            .all(|(pattern, part)| matches(pattern, part))
}

/// Whether a part of a name is as its pattern: `*` is anything, `?` any one character.
fn matches(pattern: &str, part: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => part.is_empty(),
        Some('*') => part
            .char_indices()
            .map(|(at, _)| at)
            .chain([part.len()])
            .any(|at| matches(pattern.as_str(), &part[at..])),
        Some(wanted) => part
            .chars()
            .next()
            .filter(|first| wanted == '?' || *first == wanted)
            .is_some_and(|first| matches(pattern.as_str(), &part[first.len_utf8()..])),
    }
}

/// Whether an image's path is this one or beneath it.
fn is_beneath(meant: &str, path: &str) -> bool {
    meant.is_empty()
        || path
            .strip_prefix(meant)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(configuration: &Value, image: &str) -> Option<(String, String)> {
        found_in(std::slice::from_ref(configuration), image)
    }

    fn found_in(configurations: &[Value], image: &str) -> Option<(String, String)> {
        let login = Login::find(configurations, &ImageRef::parse(image).expect("a reference"))?;
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
    #[test]
    fn an_entry_may_name_the_very_image_or_a_pattern_of_hosts() {
        let entry = |user: &str| json!({ "username": user, "password": "p" });
        let user = |image: &str| {
            let configuration = json!({ "auths": {
                "ghcr.io/your-org/web": entry("image"),
                "ghcr.io/your-org": entry("org"),
                "*.registry.example": entry("any"),
                "eu-?.registry.example:8443": entry("port"),
                "https://one.registry.example/v1/team": entry("team"),
                "one.registry.example": entry("one"),
            } });
            found(&configuration, image).map(|(user, _)| user)
        };
        for (image, expected) in [
            ("ghcr.io/your-org/web:1", Some("image")),
            ("ghcr.io/your-org/website:1", Some("org")),
            ("two.registry.example/web:1", Some("any")),
            ("one.registry.example/web:1", Some("one")),
            ("one.registry.example/team/web:1", Some("team")),
            ("eu-1.registry.example:8443/web:1", Some("port")),
            ("eu-12.registry.example:8443/web:1", None),
            ("two.registry.example:8443/web:1", None),
            ("a.two.registry.example/web:1", None),
            ("registry.example/web:1", None),
        ] {
            assert_eq!(user(image).as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn of_several_configurations_the_entry_that_says_most_is_taken() {
        let of = |at: &str, user: &str| json!({ "auths": { at: { "username": user, "password": "p" } } });
        let all = [
            of("*.io", "pattern"),
            of("ghcr.io", "host"),
            of("ghcr.io/your-org", "org"),
            of("ghcr.io", "later"),
        ];
        let user = |image: &str| found_in(&all, image).map(|(user, _)| user);
        assert_eq!(user("ghcr.io/your-org/web:1").as_deref(), Some("org"));
        assert_eq!(user("ghcr.io/other/web:1").as_deref(), Some("host"));
        assert_eq!(user("quay.io/web:1").as_deref(), Some("pattern"));
    }
}
