//! The S3 server that everything is measured against, started by the script that the tests use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running server. It ends with this process.
pub(super) struct Store {
    script: PathBuf,
    folder: PathBuf,
    variables: BTreeMap<String, String>,
}

impl Store {
    #[expect(
        clippy::disallowed_methods,
        reason = "a bench starts the server that it measures against"
    )]
    pub(super) fn start(folder: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/services/s3");
        let started = Command::new(&script)
            .arg("start")
            .arg(folder)
            .output()
            .expect("tests/services/s3");
        assert!(
            started.status.success(),
            "{}run tests/services/install first",
            String::from_utf8_lossy(&started.stderr)
        );
        let text = std::fs::read_to_string(folder.join("env")).expect("env");
        let variables = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            script,
            folder: folder.to_owned(),
            variables,
        }
    }

    /// What leads to it.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        self.variables.clone()
    }

    /// Makes the bucket that everything goes to.
    pub(super) async fn make_bucket(&self) {
        let store = jm_sandbox::Description {
            pid: 0,
            started_at: jm_step::clock::now(),
            environment: self.variables(),
            database: jm_sandbox::DatabasePlace::Beside,
            control: None,
        };
        jm_sandbox::journeyman::create_buckets(&store).await.expect("buckets");
    }
}

impl Drop for Store {
    #[expect(clippy::disallowed_methods, reason = "as it was started")]
    fn drop(&mut self) {
        drop(Command::new(&self.script).arg("stop").arg(&self.folder).output());
    }
}

/// Whether a program is on `PATH`, and answers.
#[expect(clippy::disallowed_methods, reason = "asking is how one finds out")]
pub(super) fn is_installed(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").output();
    asked.is_ok_and(|output| output.status.success())
}
