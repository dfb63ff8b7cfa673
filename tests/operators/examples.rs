//! `examples/approval.yaml`, as its comment says.

use std::path::Path;

use anyhow::{Result, ensure};

use super::{Place, says};
use crate::environment::file;

#[test]
fn the_example_asks_first_and_removes_after_a_yes() -> Result<()> {
    let place = Place::new()?;
    // The plan takes nothing outside of /tmp.
    let doomed = tempfile::Builder::new().prefix("jm-approval-").tempdir_in("/tmp")?;
    std::fs::write(doomed.path().join("old"), "old")?;
    let directory = format!("directory={}", doomed.path().display());
    let plan = file("examples/approval.yaml").display().to_string();
    let unasked = place.jm(&["plan", "run", &plan, "-i", &directory], 10)?;
    says(&unasked, &["cannot be taken back", "--yes"])?;
    let outside = place.jm(&["plan", "run", &plan, "--yes", "-i", "directory=/etc"], 3)?;
    says(&outside, &["directory"])?;
    let output = place.jm(&["plan", "run", &plan, "--yes", "-i", &directory], 6)?;
    says(&output, &["remove", "jm run approve ask"])?;
    ensure!(doomed.path().exists(), "removed without a yes");
    place.jm(&["run", "approve", "ask", "--reason", "nobody needs it"], 0)?;
    ensure!(doomed.path().exists(), "removed before the resume");
    let output = place.jm(&["plan", "resume", "--yes"], 0)?;
    says(&output, &["completed"])?;
    ensure!(!Path::new(doomed.path()).exists(), "still there");
    let [_, _, who, reason] = place.words()?.remove(0);
    ensure!(who.starts_with("ada@") && reason == "nobody needs it");
    Ok(())
}
