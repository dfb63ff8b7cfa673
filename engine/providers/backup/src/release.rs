//! The release that ran when a backup was made, as plans tell it.

use jm_backup::Release;
use jm_step::InputIssue;
use schemars::JsonSchema;
use serde::Deserialize;

/// The release of the application that runs now: which code fits the data.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Running {
    /// The commit, by its full hash, such as `git.verify` gives it. Empty: not known.
    #[serde(default)]
    commit: String,
    /// The image, by its digest, such as `ghcr.io/shop/app@sha256:…`. Empty: not known.
    #[serde(default)]
    image: String,
}

impl Running {
    /// What is kept of it; nothing where nothing is known.
    pub(crate) fn release(&self) -> Option<Release> {
        let release = Release {
            commit: self.commit.clone(),
            tag: String::new(),
            image: self.image.clone(),
        };
        Some(release).filter(|release| *release != Release::default())
    }

    /// What is wrong with it.
    pub(crate) fn issues(&self) -> Vec<InputIssue> {
        let mut issues = Vec::new();
        let is_hash = matches!(self.commit.len(), 40 | 64) && self.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !self.commit.is_empty() && !is_hash {
            let what = format!("`{}` is not the full hash of a commit", self.commit.escape_debug());
            issues.push(InputIssue::at("/release/commit", what).help("`git rev-parse HEAD` tells it"));
        }
        if !self.image.is_empty() && !self.image.contains("@sha256:") {
            let what = format!("`{}` names no image by its digest", self.image.escape_debug());
            let help = "such as `ghcr.io/shop/app@sha256:…`: a tag may be another image tomorrow";
            issues.push(InputIssue::at("/release/image", what).help(help));
        }
        issues
    }
}
