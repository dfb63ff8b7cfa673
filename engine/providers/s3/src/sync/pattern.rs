//! Which names a pattern means, and what is said of an object by its name.

use std::path::Path;

use jm_step::InputIssue;
use schemars::JsonSchema;
use serde::Deserialize;

use super::hash::Forms;

/// Headers of objects whose names match.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderRule {
    /// Names, such as `*.html` or `static/*`: `*` stands for any characters, also for `/`.
    #[serde(rename = "match")]
    pub(crate) pattern: String,
    /// Only those of them that have a hash in them, such as `app.3f2a9c1b.js`: what has another name with other content may
    /// be kept for ever. A hash is a piece of eight or more, in hex or of capitals, small letters and digits; what may be a
    /// word, a date or a number is none. Where some files of a folder have one as webpack (`main.4c1e5a19.js`), esbuild and
    /// Angular (`chunk-FK42CYNN.js`) or Rollup and Vite (`index-DiwrgTda.js`) name them, all have that are named alike, unless
    /// they read as words or a date.
    #[serde(default)]
    pub(crate) hashed: bool,
    /// Such as `public, max-age=31536000, immutable`.
    #[serde(default)]
    pub(crate) cache_control: Option<String>,
    /// Such as `text/html; charset=utf-8`. Default: by the name's ending.
    #[serde(default)]
    pub(crate) content_type: Option<String>,
}

/// What stands in the headers of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
}

/// Which names are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) include: Vec<String>,
    pub(crate) exclude: Vec<String>,
}

impl Names {
    /// Whether a name is meant: all are where nothing is included by name, and what is excluded never is.
    pub(crate) fn mean(&self, name: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

/// What the first rule that matches says, and the type by the name's ending where none says it.
pub(super) fn headers_of(rules: &[HeaderRule], forms: &Forms, name: &str) -> Headers {
    let rule = rule(rules, forms, name);
    let given = rule.and_then(|rule| rule.content_type.clone());
    Headers {
        content_type: given.or_else(|| content_type(name).map(str::to_owned)),
        cache_control: rule.and_then(|rule| rule.cache_control.clone()),
    }
}

/// What stands in the headers of an object for which there are no rules.
pub(crate) fn headers(name: &str) -> Headers {
    headers_of(&[], &Forms::default(), name)
}

/// The first rule that matches.
pub(super) fn rule<'r>(rules: &'r [HeaderRule], forms: &Forms, name: &str) -> Option<&'r HeaderRule> {
    let means = |rule: &&HeaderRule| matches(&rule.pattern, name) && (!rule.hashed || forms.is_hashed(name));
    rules.iter().find(means)
}

/// What the schema cannot say.
pub(crate) fn issues(rules: &[HeaderRule]) -> Vec<InputIssue> {
    let empty = rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.cache_control.is_none() && rule.content_type.is_none());
    let issue = |(number, rule): (usize, &HeaderRule)| {
        InputIssue::at(
            format!("/headers/{number}"),
            format!("the rule for `{}` says nothing", rule.pattern),
        )
        .help("give `cache_control` or `content_type`")
    };
    empty.map(issue).collect()
}

/// Whether a name matches: `*` stands for any characters, none too.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(start) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let end = pieces.pop().unwrap_or_default();
    for piece in pieces {
        // The earliest place leaves the most for what follows.
        let Some(at) = left.find(piece) else { return false };
        left = &left[at + piece.len()..];
    }
    left.ends_with(end)
}

/// What a browser has to be told of files of a site, by their ending.
/// <https://www.iana.org/assignments/media-types>
fn content_type(name: &str) -> Option<&'static str> {
    let ending = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    Some(match ending.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "xml" => "application/xml",
        "txt" => "text/plain; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/vnd.microsoft.icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "gz" => "application/gzip",
        "zip" => "application/zip",
        "gpg" | "pgp" => "application/pgp-encrypted",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("index.html", "index.html", true),
            ("index.html", "a/index.html", false),
            ("*.html", "a/index.html", true),
            ("static/*", "static/js/a.js", true),
            ("static/*", "other/static/a", false),
            ("*a*b", "xaxxbxb", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*", "", true),
            ("*.*.js", "main.abc.js", true),
            ("*.*.js", "main.js", false),
            ("ä*", "äö", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_first_rule_counts_and_the_ending_says_the_rest() {
        let rule = |pattern: &str, cache: &str| HeaderRule {
            pattern: pattern.to_owned(),
            hashed: false,
            cache_control: Some(cache.to_owned()),
            content_type: None,
        };
        let rules = [rule("*.html", "no-cache"), rule("*", "immutable")];
        let page = headers_of(&rules, &Forms::default(), "a.HTML");
        assert_eq!(page.content_type.as_deref(), Some("text/html; charset=utf-8"));
        assert_eq!(
            page.cache_control.as_deref(),
            Some("immutable"),
            "names have their case"
        );
        assert_eq!(
            headers_of(&rules, &Forms::default(), "a.html").cache_control.as_deref(),
            Some("no-cache")
        );
        assert_eq!(headers("a.unknown"), Headers::default());
        let kept = HeaderRule {
            hashed: true,
            ..rule("static/*", "immutable")
        };
        let rules = [kept, rule("*", "no-cache")];
        for (name, cache) in [
            ("static/app.3f2a9c1b.js", "immutable"),
            ("static/config.json", "no-cache"),
            ("app.3f2a9c1b.js", "no-cache"),
        ] {
            assert_eq!(
                headers_of(&rules, &Forms::default(), name).cache_control.as_deref(),
                Some(cache),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_excluded_is_never_meant() {
        let names = Names {
            include: vec!["*.gpg".to_owned()],
            exclude: vec!["pre_restore_*".to_owned()],
        };
        assert!(names.mean("a.gpg") && !names.mean("a.sql") && !names.mean("pre_restore_a.gpg"));
        assert!(Names::default().mean("anything"));
    }
}
