//! References to images: `[REGISTRY[:PORT]/]NAME[:TAG][@sha256:DIGEST]`.

/// A reference, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageRef<'t> {
    /// The registry, where it names one: a host, and a port where there is one.
    pub registry: Option<&'t str>,
    /// The path in the registry, such as `your-org/backend`.
    pub path: &'t str,
    /// Registry and path as they are written.
    pub name: &'t str,
    /// The tag, where it has one.
    pub tag: Option<&'t str>,
    /// The digest, where it has one, as `sha256:…`.
    pub digest: Option<&'t str>,
}

impl<'t> ImageRef<'t> {
    /// Takes a reference apart.
    ///
    /// # Errors
    /// What is wrong with it, in words for people.
    pub fn parse(text: &'t str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return Err(format!(
                "`{digest}` is no digest: write `sha256:` and 64 hexadecimal digits"
            ));
        }
        // A colon before the last slash is that of a port.
        let name_at = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[name_at..].split_once(':') {
            Some((name, tag)) => (&rest[..name_at + name.len()], Some(tag)),
            None => (rest, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!("`{tag}` is no tag"));
        }
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if is_host(host) => (Some(host), path),
            _ => (None, name),
        };
        match path.split('/').find(|part| !is_part(part)) {
            Some(part) => Err(format!(
                "`{part}` is no part of an image's name: those are in lower case"
            )),
            None => Ok(Self {
                registry,
                path,
                name,
                tag,
                digest,
            }),
        }
    }

    /// The reference to one image and no other: the name, by its digest.
    pub fn pinned(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name)
    }
}

/// The digest in what a pod reports as the image that it runs, such as `docker-pullable://name@sha256:…`.
pub fn reported_digest(image_id: &str) -> Option<&str> {
    let digest = image_id.rsplit('@').next()?;
    is_digest(digest).then_some(digest)
}

pub(crate) fn is_digest(text: &str) -> bool {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

/// A first part is a registry where it could not be a name: it has a dot or a port, or is this machine.
fn is_host(text: &str) -> bool {
    let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    (text.contains(['.', ':']) || text == "localhost") && text.chars().all(host)
}

fn is_part(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let pinned = format!("ghcr.io/your-org/back_end@{digest}");
        let both = format!("localhost:5000/a:1.0@{digest}");
        for (text, tag, pin) in [
            ("nginx", None, None),
            ("nginx:latest", Some("latest"), None),
            ("localhost:5000/team/web:1.2-rc.1", Some("1.2-rc.1"), None),
            ("127.0.0.1:5000/web", None, None),
            (pinned.as_str(), None, Some(digest.as_str())),
            (both.as_str(), Some("1.0"), Some(digest.as_str())),
        ] {
            let found = ImageRef::parse(text).expect(text);
            assert_eq!((found.tag, found.digest), (tag, pin), "{text}");
        }
        for (text, registry, path) in [
            ("nginx:1", None, "nginx"),
            ("your-org/back_end", None, "your-org/back_end"),
            ("localhost:5000/team/web:1", Some("localhost:5000"), "team/web"),
            (pinned.as_str(), Some("ghcr.io"), "your-org/back_end"),
        ] {
            let found = ImageRef::parse(text).expect(text);
            assert_eq!((found.registry, found.path), (registry, path), "{text}");
        }
        let tagged = ImageRef::parse("localhost:5000/team/web:1").expect("a reference");
        assert_eq!(tagged.pinned(&digest), format!("localhost:5000/team/web@{digest}"));
        for text in [
            "",
            "Web",
            "web:",
            "web:a b",
            "web@sha256:12",
            "a//b",
            "-a",
            "web@latest",
            "https://x/y",
        ] {
            assert!(ImageRef::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_pods_report_is_read() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for text in [
            digest.clone(),
            format!("docker-pullable://x/y@{digest}"),
            format!("x/y@{digest}"),
        ] {
            assert_eq!(reported_digest(&text), Some(digest.as_str()));
        }
        assert_eq!(reported_digest(""), None);
        assert_eq!(reported_digest("docker://sha256:12"), None);
    }
}
