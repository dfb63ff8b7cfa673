//! Manifests from files, folders and kustomizations.

#![expect(clippy::disallowed_methods, reason = "this module reads manifests")]

use std::path::{Path, PathBuf};

use jm_client_kubernetes::{documents, strip_bookkeeping};
use jm_step::process::{Command, find};
use jm_step::{ReadContext, StepError};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::Input;

/// A file that is larger than this is no manifest.
const LARGEST: u64 = 256 << 20;

/// All objects, in the order of the paths, and of the names within folders.
pub(super) async fn read(cx: &ReadContext, input: &Input) -> Result<Vec<Value>, StepError> {
    let mut objects = Vec::new();
    for path in &input.paths {
        let mut files = Vec::new();
        collect(Path::new(path), input.recursive, true, &mut files).await?;
        for file in files {
            objects.extend(documents(&file.display().to_string(), &text(&file).await?)?);
        }
    }
    if let Some(folder) = &input.kustomization {
        objects.extend(documents(folder, &kustomize(cx, folder).await?)?);
    }
    for object in &mut objects {
        strip_bookkeeping(object);
    }
    Ok(objects)
}

async fn collect(path: &Path, recursive: bool, named: bool, files: &mut Vec<PathBuf>) -> Result<(), StepError> {
    let metadata = tokio::fs::metadata(path)
        .await
        .map_err(|error| unreadable(path, error))?;
    if metadata.is_file() {
        // A file that is named itself is read whatever it is called.
        if named || is_manifest(path) {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    if !named && !recursive {
        return Ok(());
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
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    // What kustomize reads is no object.
    let kustomization = ["kustomization.yaml", "kustomization.yml"].contains(&name);
    !name.starts_with('.') && !kustomization && ["yaml", "yml", "json"].contains(&ending)
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
