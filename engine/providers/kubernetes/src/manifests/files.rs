//! Manifests from files, folders and kustomizations.

#![expect(clippy::disallowed_methods, reason = "this module reads manifests")]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jm_client_kubernetes::{ObjectKey, documents, strip_bookkeeping};
use jm_step::process::{Command, find};
use jm_step::{ReadContext, StepError};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::Named;
use crate::deploy::named;

/// A file that is larger than this is no manifest.
const LARGEST: u64 = 256 << 20;

/// What tells kustomize what to build, and is no object.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Whether a path is in a folder that a step of this run makes for itself and has not made yet, as in a dry run.
pub(super) fn is_to_come(cx: &ReadContext, path: &Path) -> bool {
    cx.is_of_this_run(path) && !path.exists()
}

/// An object as it is written, and where.
pub(super) struct Written {
    origin: String,
    pub(super) value: Value,
}

/// All objects, in the order of the paths, and of the names within folders, each once. `namespace` is that of objects that
/// name none.
pub(super) async fn read(cx: &ReadContext, from: &Named<'_>, namespace: &str) -> Result<Vec<Written>, StepError> {
    let mut objects = Vec::new();
    for path in from.paths {
        if is_kustomization(Path::new(path)).await? {
            objects.extend(written(path, &kustomize(cx, path).await?)?);
            continue;
        }
        let mut files = Vec::new();
        collect(Path::new(path), from.recursive, true, &mut files).await?;
        for file in files {
            objects.extend(written(&file.display().to_string(), &text(&file).await?)?);
        }
    }
    if let Some(folder) = from.kustomization {
        objects.extend(written(folder, &kustomize(cx, folder).await?)?);
    }
    once(objects, namespace)
}

fn written(origin: &str, text: &str) -> Result<Vec<Written>, StepError> {
    let objects = documents(origin, text)?.into_iter().map(|mut value| {
        strip_bookkeeping(&mut value);
        Written {
            origin: origin.to_owned(),
            value,
        }
    });
    Ok(objects.collect())
}

/// Each object once. Of one that is written twice, and not the same, nobody can tell which is meant.
fn once(objects: Vec<Written>, namespace: &str) -> Result<Vec<Written>, StepError> {
    let mut places = BTreeMap::new();
    let mut kept: Vec<Written> = Vec::new();
    for object in objects {
        let mut key =
            ObjectKey::of(&object.value).map_err(|error| error.context(format_args!("`{}`", object.origin)))?;
        key.namespace.get_or_insert_with(|| namespace.to_owned());
        match places.entry(named(&key)) {
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(object);
            }
            Entry::Occupied(place) => {
                let first = &kept[*place.get()];
                if without_namespace(&first.value) != without_namespace(&object.value) {
                    return Err(StepError::invalid_input(format!(
                        "{key} stands in `{}` and, otherwise, in `{}`",
                        first.origin, object.origin
                    ))
                    .hint("take one of them out: which of the two is meant nobody can tell"));
                }
            }
        }
    }
    Ok(kept)
}

/// Where two are the same object their namespace is the same, and one may leave it to the target.
fn without_namespace(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("namespace");
    }
    object
}

/// Whether it is a folder that kustomize builds.
async fn is_kustomization(path: &Path) -> Result<bool, StepError> {
    for name in KUSTOMIZATIONS {
        let file = path.join(name);
        match tokio::fs::metadata(&file).await {
            Ok(metadata) => return Ok(metadata.is_file()),
            // The path itself may be no folder, or not there: who reads it tells.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(unreadable(&file, error)),
        }
    }
    Ok(false)
}

async fn collect(path: &Path, recursive: bool, named: bool, files: &mut Vec<PathBuf>) -> Result<(), StepError> {
    let metadata = tokio::fs::metadata(path)
        .await
        .map_err(|error| unreadable(path, error))?;
    if metadata.is_file() {
        if named
            && path
                .file_name()
                .is_some_and(|name| KUSTOMIZATIONS.iter().any(|one| name == *one))
        {
            return Err(StepError::invalid_input(format!(
                "`{}` says what kustomize builds, and is no object",
                path.display()
            ))
            .hint("name its folder, which is built then"));
        }
        // Any other file that is named itself is read whatever it is called.
        if named || is_manifest(path) {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    if !named && (!recursive || is_hidden(path)) {
        return Ok(());
    }
    if !named && is_kustomization(path).await? {
        // It may be built upon by another one: then to apply both would be wrong.
        return Err(
            StepError::invalid_input(format!("`{}` is a kustomization among plain manifests", path.display())).hint(
                "name the folder that is to be built itself, and files or folders beside it, or leave `recursive` out",
            ),
        );
    }
    let mut entries = tokio::fs::read_dir(path)
        .await
        .map_err(|error| unreadable(path, error))?;
    let mut inside = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(|error| unreadable(path, error))? {
        inside.push(entry.path());
    }
    inside.sort();
    for path in inside {
        Box::pin(collect(&path, recursive, false, files)).await?;
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    !is_hidden(path) && ["yaml", "yml", "json"].contains(&ending)
}

/// As of git, or of an editor.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

async fn text(file: &Path) -> Result<String, StepError> {
    let metadata = tokio::fs::metadata(file)
        .await
        .map_err(|error| unreadable(file, error))?;
    if metadata.len() > LARGEST {
        return Err(StepError::invalid_input(format!(
            "`{}` has {} bytes, which no manifest has",
            file.display(),
            metadata.len()
        )));
    }
    tokio::fs::read_to_string(file)
        .await
        .map_err(|error| unreadable(file, error))
}

fn unreadable(path: &Path, error: std::io::Error) -> StepError {
    StepError::not_found(format!("`{}` cannot be read: {error}", path.display()))
        .hint("paths are those of the machine that jm runs on, relative to where it was started")
        .source(error)
}

/// What `kustomize` or `kubectl` makes of a folder. Neither is asked to run anything of its own.
async fn kustomize(cx: &ReadContext, folder: &str) -> Result<String, StepError> {
    let environment = cx.environment();
    let (program, verb) = match (find("kustomize", environment, &[]), find("kubectl", environment, &[])) {
        (Some(kustomize), _) => (kustomize, "build"),
        (None, Some(kubectl)) => (kubectl, "kustomize"),
        (None, None) => {
            return Err(StepError::not_found(
                "neither `kustomize` nor `kubectl` is on PATH, and a kustomization needs one",
            )
            .hint("install one of them, or name plain manifests in `paths`"));
        }
    };
    let command = Command::new(program).arg(verb).arg("--").arg(folder);
    let mut child = command.spawn(cx.supervisor(), environment)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut text, mut said) = (String::new(), String::new());
    let (read, heard) = tokio::join!(
        async {
            match stdout {
                Some(mut stdout) => stdout.read_to_string(&mut text).await,
                None => Ok(0),
            }
        },
        async {
            match stderr {
                Some(mut stderr) => stderr.read_to_string(&mut said).await,
                None => Ok(0),
            }
        }
    );
    let status = child.wait().await?;
    if !status.success() {
        let last = said
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("it said nothing");
        return Err(
            StepError::invalid_input(format!("kustomization `{folder}` cannot be built: {last}"))
                .hint(format!("see it all with `kubectl kustomize {folder}`")),
        );
    }
    read.and(heard)
        .map_err(|error| StepError::failed(format!("what came of `{folder}` cannot be read")).source(error))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(namespace: Option<&str>, value: &str) -> Written {
        let mut config =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x" }, "data": { "k": value } });
        if let Some(namespace) = namespace {
            config["metadata"]["namespace"] = namespace.into();
        }
        Written {
            origin: "x.yaml".to_owned(),
            value: config,
        }
    }

    #[test]
    fn what_is_written_twice_is_the_same_whether_or_not_it_names_the_namespace() {
        let twice = |second: &str| once(vec![config(None, "one"), config(Some("app"), second)], "app");
        assert_eq!(twice("one").expect("it is the same").len(), 1);
        let error = twice("two").map(|kept| kept.len()).expect_err("which is meant?");
        assert!(error.message().contains("otherwise"), "{error}");
        let elsewhere = once(vec![config(None, "one"), config(Some("other"), "two")], "app");
        assert_eq!(elsewhere.expect("two objects").len(), 2);
    }
}
