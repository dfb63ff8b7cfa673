//! Where the programs of a control plane are on this machine.

use std::path::{Path, PathBuf};

use jm_step::Environment;
use jm_step::process::find;

use super::failed;
use crate::SandboxError;

/// What installs them.
const INSTALL: &str = "run `tests/services/install kubernetes kwok` in a clone of jm, or set KUBEBUILDER_ASSETS to a \
                       folder that has them";

/// Programs that are all there.
pub(super) struct Programs {
    folder: PathBuf,
    kwok: PathBuf,
}

impl Programs {
    /// Looks where `KUBEBUILDER_ASSETS` says, else where `tests/services/install` puts them.
    pub(super) fn find(environment: &Environment) -> Result<Self, SandboxError> {
        let tools = tools(environment);
        let named = environment.get("KUBEBUILDER_ASSETS").filter(|path| !path.is_empty());
        let installed = || versions(&tools, "kubernetes-").into_iter().next();
        let folder = named.map(PathBuf::from).or_else(installed);
        let folder = folder.unwrap_or_else(|| tools.join("kubernetes"));
        let mut missing: Vec<&str> = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
            .into_iter()
            .filter(|program| in_folders(program, std::slice::from_ref(&folder)).is_none())
            .collect();
        let kwok = kwok(environment, &folder, &tools);
        missing.extend(kwok.is_none().then_some("kwok"));
        match kwok {
            Some(kwok) if missing.is_empty() => Ok(Self { folder, kwok }),
            _ => Err(failed(format!(
                "cannot start: `{}` lacks {}; {INSTALL}",
                folder.display(),
                missing.join(", ")
            ))),
        }
    }

    pub(super) fn etcd(&self) -> PathBuf {
        self.folder.join("etcd")
    }

    pub(super) fn api_server(&self) -> PathBuf {
        self.folder.join("kube-apiserver")
    }

    pub(super) fn controller_manager(&self) -> PathBuf {
        self.folder.join("kube-controller-manager")
    }

    pub(super) fn scheduler(&self) -> PathBuf {
        self.folder.join("kube-scheduler")
    }

    pub(super) fn kwok(&self) -> PathBuf {
        self.kwok.clone()
    }
}

/// The folder of the tools that `tests/services/install` keeps.
fn tools(environment: &Environment) -> PathBuf {
    let set = |name: &str| {
        environment
            .get(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = || set("XDG_CACHE_HOME").unwrap_or_else(|| set("HOME").unwrap_or_default().join(".cache"));
    set("JM_CACHE").unwrap_or_else(|| cache().join("jm")).join("tools")
}

/// kwok: beside the others, among the tools in a folder that ends in its version, else on `PATH`.
fn kwok(environment: &Environment, folder: &Path, tools: &Path) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::iter::once(folder.to_owned())
        .chain(versions(tools, "kwok-"))
        .collect();
    in_folders("kwok", &folders).or_else(|| find("kwok", environment, &[]))
}

/// The folders of a tool, which end in its version, newest first.
fn versions(tools: &Path, tool: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(tools).into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(tool))
        .map(|entry| entry.path())
        .collect();
    versions.sort();
    versions.reverse();
    versions
}

fn in_folders(program: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    find(program, &Environment::default(), folders)
}
