//! A folder of jm's own for a step, where nobody named one.

use std::path::{Path, PathBuf};

use crate::context::ReadContext;

impl ReadContext {
    /// The folder that this step makes for itself among the temporary files, which is not made by asking for it.
    pub fn own_folder(&self) -> PathBuf {
        self.temporary_folder()
            .join(format!("{}{}", self.prefix(), self.step()))
    }

    /// Whether a path is one of those folders, of whichever step of this run, or lies in one.
    pub fn is_of_this_run(&self, path: &Path) -> bool {
        let own = path
            .strip_prefix(self.temporary_folder())
            .ok()
            .and_then(|own| own.iter().next());
        own.is_some_and(|own| own.to_string_lossy().starts_with(&self.prefix()))
    }

    /// Where temporary files are.
    pub fn temporary_folder(&self) -> PathBuf {
        PathBuf::from(self.environment().get("TMPDIR").unwrap_or("/tmp"))
    }

    fn prefix(&self) -> String {
        format!("jm-{}-", self.run().id)
    }
}
