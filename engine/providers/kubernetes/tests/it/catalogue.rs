//! A catalogue of backups in a folder, for a bench.

use jm_backup::Backups;
use jm_step::{Connection, Environment, OpenContext, RunId, Secrets};
use jm_testkit::StepBench;
use serde_json::json;

use crate::place::bench;
use crate::server::Server;

/// A folder with backups.
pub(crate) struct Catalogue {
    folder: tempfile::TempDir,
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) async fn open(&self) -> Backups {
        self.open_with("correct horse battery staple, twice").await
    }

    /// The same, with this key.
    pub(crate) async fn open_with(&self, key: &str) -> Backups {
        let directory = self.folder.path().join("backups");
        let config = json!({ "directory": directory, "key": key });
        let cx = OpenContext {
            secrets: Secrets::new(),
            environment: Environment::default(),
            run: RunId::generate(),
        };
        let config = serde_json::from_value(config).expect("a configuration");
        Backups::open(config, &cx).await.expect("it opens")
    }

    /// What a step gets that acts in a namespace and has these backups. Each is a deed of its own.
    pub(crate) async fn bench(&self, server: &Server, namespace: &str) -> StepBench {
        bench(&server.kubeconfig, namespace)
            .await
            .with("backups", self.open().await)
    }

    /// How many exports there are.
    pub(crate) fn exports(&self) -> usize {
        let files = std::fs::read_dir(self.folder.path().join("backups"))
            .into_iter()
            .flatten()
            .flatten();
        files
            .filter(|file| file.file_name().to_string_lossy().ends_with(".yaml.gpg"))
            .count()
    }

    /// Cuts the file of an export short.
    pub(crate) fn damage(&self, export: &str) {
        let path = self.folder.path().join("backups").join(export);
        let whole = std::fs::read(&path).expect("an export");
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    }

    /// Everything that lies in the folder, as text.
    pub(crate) fn text(&self) -> String {
        let files = std::fs::read_dir(self.folder.path().join("backups")).expect("a folder");
        files
            .flatten()
            .map(|file| String::from_utf8_lossy(&std::fs::read(file.path()).expect("read")).into_owned())
            .collect()
    }
}
