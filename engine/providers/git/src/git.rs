//! Running git: without prompts, hooks and pagers, in a cleared environment, ended with the step.

use std::path::{Path, PathBuf};

use jm_step::process::Command;
use jm_step::{ReadContext, StepError};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::trouble;

/// What git needs of jm's environment besides what every program does: the way to keys, proxies and settings.
const PASSED_ON: [&str; 12] = [
    "SSH_AUTH_SOCK",
    "GIT_SSH_COMMAND",
    "GNUPGHOME",
    "XDG_CONFIG_HOME",
    "GIT_SSL_CAINFO",
    "SSL_CERT_FILE",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];
/// Nobody is asked anything; words are those that [`trouble`] knows; looking locks nothing.
const SET: [(&str, &str); 6] = [
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", ""),
    ("SSH_ASKPASS_REQUIRE", "never"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("LC_ALL", "C"),
    ("GIT_PAGER", "cat"),
];
/// No program of the repository's own runs: neither its hooks nor what an address such as `ext::sh …` names.
const SETTINGS: [&str; 4] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.ext.allow=never",
    "advice.detachedHead=false",
];
/// More words than this are no answer to anything that is asked here.
const MOST_WORDS: u64 = 64 * 1024 * 1024;

/// What git said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) good: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Git, in a repository or outside of one.
pub(crate) struct Git<'c> {
    cx: &'c ReadContext,
    dir: Option<PathBuf>,
}

impl<'c> Git<'c> {
    /// Git in a folder.
    pub(crate) fn at(cx: &'c ReadContext, dir: &Path) -> Self {
        Self {
            cx,
            dir: Some(dir.to_path_buf()),
        }
    }

    /// Git in no repository.
    pub(crate) fn nowhere(cx: &'c ReadContext) -> Self {
        Self { cx, dir: None }
    }

    /// Its answer, whatever that is.
    pub(crate) async fn ask(&self, args: &[&str]) -> Result<Said, StepError> {
        let mut command = Command::new("git");
        if let Some(dir) = &self.dir {
            command = command.arg("-C").arg(dir.display().to_string());
        }
        command = command
            .args(SETTINGS.iter().flat_map(|setting| ["-c", *setting]))
            .args(args.iter().copied());
        let environment = self.cx.environment();
        for name in PASSED_ON {
            if let Some(value) = environment.get(name) {
                command = command.env(name, value);
            }
        }
        if environment.get("GIT_SSH_COMMAND").is_none() {
            command = command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        }
        for (name, value) in SET {
            command = command.env(name, value);
        }
        let mut process = command.spawn(self.cx.supervisor(), environment)?;
        let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
        let working = async {
            let (out, err, status) = tokio::join!(words(stdout), words(stderr), process.wait());
            status.map(|status| Said {
                good: status.success(),
                out,
                err,
            })
        };
        tokio::select! {
            said = working => said,
            () = self.cx.cancelled() => Err(StepError::cancelled("told to stop while git was at work")),
        }
    }

    /// Its answer without the last line end; that it says no is an error.
    pub(crate) async fn tell(&self, args: &[&str]) -> Result<String, StepError> {
        let said = self.ask(args).await?;
        if said.good {
            return Ok(said.out.trim_end_matches('\n').to_owned());
        }
        Err(trouble::of(args, &said.err))
    }

    /// Its answer; nothing where it says no.
    pub(crate) async fn maybe(&self, args: &[&str]) -> Result<Option<String>, StepError> {
        let said = self.ask(args).await?;
        Ok(said.good.then(|| said.out.trim_end_matches('\n').to_owned()))
    }
}

async fn words(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // A stream that breaks is at its end.
        drop(from.take(MOST_WORDS).read_to_end(&mut bytes).await);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a repository is named by an address, or is a bundle, and not by the folder of a clone.
pub(crate) fn is_remote(repository: &str) -> bool {
    if crate::mirror::is_bundle(repository) {
        return true;
    }
    let scp = repository
        .split_once(':')
        .is_some_and(|(host, _)| !host.is_empty() && !host.contains('/'));
    repository.contains("://") || scp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_folders() {
        for address in ["https://host/a.git", "git@host:a/b.git", "file:///a", "ssh://host/a"] {
            assert!(is_remote(address), "{address}");
        }
        assert!(is_remote("/a/code.bundle"));
        for folder in ["/a/b", "a", "./a:b", "../x"] {
            assert!(!is_remote(folder), "{folder}");
        }
    }
}
