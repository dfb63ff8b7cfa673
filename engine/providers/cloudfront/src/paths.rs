//! Paths as CloudFront wants them: encoded, without repeats, in batches that it takes.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// So many paths are dropped at a time, of one distribution.
pub(crate) const MOST_PATHS: usize = 3000;
/// So many of them may end with `*`.
pub(crate) const MOST_WILDCARDS: usize = 15;
/// CloudFront's limit for one path.
const LONGEST: usize = 4000;
/// What RFC 1738 calls unsafe; CloudFront wants that encoded, and nothing else. A `%` that begins a code stays.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'#')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'~')
    .add(b'[')
    .add(b']')
    .add(b'`');

/// What is wrong with a path, if anything, and what to write instead.
pub(crate) fn fault(path: &str) -> Option<(String, String)> {
    let star = path.find('*');
    let told = |what: &str, help: String| Some((format!("`{path}` {what}"), help));
    if !path.starts_with('/') {
        return told("does not begin with a slash", format!("write `/{path}`"));
    }
    if star.is_some_and(|at| at + 1 != path.len()) {
        return told(
            "has a `*` that is not its last letter",
            "`*` stands for anything at the end of a path, and for itself elsewhere: `%2A`".to_owned(),
        );
    }
    if encoded(path).len() > LONGEST {
        return told(
            "is longer than CloudFront takes",
            "drop a folder of it: `/folder/*`".to_owned(),
        );
    }
    None
}

/// A path in the form in which CloudFront knows it.
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.extend(utf8_percent_encode(&rest[..at], UNSAFE));
        let code = rest.as_bytes().get(at + 1..at + 3);
        let is_code = code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
        out.push_str(if is_code { "%" } else { "%25" });
        rest = &rest[at + 1..];
    }
    out.extend(utf8_percent_encode(rest, UNSAFE));
    out
}

/// The paths to drop: encoded, in order, each once, without those that another one covers.
pub(crate) fn needed(paths: &[String]) -> Vec<String> {
    let mut all: Vec<String> = paths.iter().map(|path| encoded(path)).collect();
    all.sort();
    all.dedup();
    let starts: Vec<String> = all
        .iter()
        .filter_map(|path| path.strip_suffix('*').map(str::to_owned))
        .collect();
    all.retain(|path| {
        let own = path.strip_suffix('*');
        let begins = own.unwrap_or(path);
        !starts
            .iter()
            .any(|start| begins.starts_with(start.as_str()) && own != Some(start.as_str()))
    });
    all
}

/// Batches of which CloudFront takes each at once.
pub(crate) fn batches(paths: Vec<String>) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut wildcards = 0;
    for path in paths {
        let wild = usize::from(path.ends_with('*'));
        let full = batches
            .last()
            .is_none_or(|batch| batch.len() == MOST_PATHS || wildcards + wild > MOST_WILDCARDS);
        if full {
            batches.push(Vec::new());
            wildcards = 0;
        }
        wildcards += wild;
        if let Some(batch) = batches.last_mut() {
            batch.push(path);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn paths_are_encoded_as_cloudfront_wants_them() {
        for (path, wanted) in [
            ("/a b/ü.html", "/a%20b/%C3%BC.html"),
            ("/already%20so", "/already%20so"),
            ("/100%", "/100%25"),
            ("/100%zz", "/100%25zz"),
            ("/a?b=c&d=(e)!$'+,;@", "/a?b=c&d=(e)!$'+,;@"),
            ("/%", "/%25"),
        ] {
            assert_eq!(encoded(path), wanted);
        }
    }

    #[test]
    fn faults_are_found() {
        assert!(fault("index.html").expect("no slash").1.contains("`/index.html`"));
        assert!(fault("/a*b").is_some() && fault("/*/a").is_some());
        assert!(
            fault(&format!("/{}", "ü".repeat(700))).is_some(),
            "long once it is encoded"
        );
        assert!(fault("/*").is_none() && fault("/a").is_none());
    }

    #[test]
    fn what_another_path_covers_is_left_out() {
        let paths = owned(&["/b", "/a/*", "/a/x", "/a/y*", "/b", "/c*", "/a/*"]);
        assert_eq!(needed(&paths), owned(&["/a/*", "/b", "/c*"]));
        assert_eq!(needed(&owned(&["/*", "/a", "/b/*"])), owned(&["/*"]));
    }

    #[test]
    fn batches_are_what_cloudfront_takes() {
        let wild: Vec<String> = (0..40).map(|n| format!("/{n:02}/*")).collect();
        let sizes: Vec<usize> = batches(wild).iter().map(Vec::len).collect();
        assert_eq!(sizes, [15, 15, 10]);
        let plain: Vec<String> = (0..7001).map(|n| format!("/{n:05}")).collect();
        let sizes: Vec<usize> = batches(plain).iter().map(Vec::len).collect();
        assert_eq!(sizes, [3000, 3000, 1001]);
        assert!(batches(Vec::new()).is_empty());
    }
}
