//! A drill against a real Kubernetes control plane that the sandbox starts.

use std::path::Path;

use anyhow::{Result, ensure};
use jm_sandbox::journeyman::REPLICAS;

use crate::environment::{World, said};

/// Whether a program runs whose arguments name this folder.
fn runs(program: &str, folder: &Path) -> Result<bool> {
    let folder = folder.display().to_string();
    for process in std::fs::read_dir("/proc")? {
        let Ok(words) = std::fs::read(process?.path().join("cmdline")) else {
            continue;
        };
        let words = String::from_utf8_lossy(&words);
        let name = words.split('\0').next().unwrap_or_default();
        if name.ends_with(program) && words.contains(&folder) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn a_sandbox_with_a_real_control_plane_recovers() -> Result<()> {
    let world = World::sandbox_with(&["--kubernetes", "real"], |_| Ok(()))?;
    let folder = world.folder().join("sandbox");
    for program in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        ensure!(
            runs(program, &folder)?,
            "{program} does not run in {}",
            folder.display()
        );
    }
    ensure!(world.ready_replicas()? == REPLICAS, "the application was not deployed");
    world.back_up()?;
    let data = world.fingerprint()?;
    world.lose_database()?;
    let output = world.recover().output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(
        world.fingerprint()? == data && world.ready_replicas()? == REPLICAS,
        "not as before"
    );
    Ok(())
}
