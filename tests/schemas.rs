//! The files in `schemas/` are what the types say today.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::environment::{file, jm, said};

fn files(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root)?.to_path_buf(), std::fs::read_to_string(&path)?);
            }
        }
    }
    Ok(found)
}

#[test]
fn schemas_are_fresh() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fresh = folder.path().join("schemas");
    let output = jm(folder.path()).args(["schema", "--write"]).arg(&fresh).output()?;
    ensure!(output.status.success(), "{}", said(&output));
    let (fresh, kept) = (files(&fresh)?, files(&file("schemas"))?);
    ensure!(
        fresh.keys().eq(kept.keys()),
        "other files in schemas/: `jm schema --write schemas` makes them, and old ones have to go"
    );
    for (name, text) in &fresh {
        ensure!(
            kept.get(name) == Some(text),
            "schemas/{} is stale: run `jm schema --write schemas`",
            name.display()
        );
    }
    Ok(())
}
