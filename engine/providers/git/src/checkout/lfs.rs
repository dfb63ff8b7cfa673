//! What git-lfs keeps outside of a repository: without it, a file is a pointer to its content, and git's status is clean.

#![expect(clippy::disallowed_types, reason = "a pointer is known by how its file begins")]

use std::path::{Path, PathBuf};

use jm_step::{ReadContext, StepError};
use tokio::io::AsyncReadExt;

use crate::git::Git;

/// The first line of a pointer. <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>
const FIRST_LINE: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// The first file of a tree, or of a submodule in it, of which only the pointer is there.
pub(super) async fn pointer(cx: &ReadContext, tree: &Path) -> Result<Option<PathBuf>, StepError> {
    for root in roots(cx, tree).await? {
        let git = Git::at(cx, &root);
        let kept_outside = git.tell(&["ls-files", "-z", ":(top,attr:filter=lfs)"]).await?;
        for name in kept_outside.split_terminator('\0') {
            let path = root.join(name);
            if is_pointer(&path).await {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// The tree, and the submodules that it has: each says for itself what is kept outside.
async fn roots(cx: &ReadContext, tree: &Path) -> Result<Vec<PathBuf>, StepError> {
    let mut roots = vec![tree.to_path_buf()];
    if tree.join(".gitmodules").exists() {
        let told = Git::at(cx, tree)
            .tell(&["submodule", "foreach", "--quiet", "--recursive", "pwd"])
            .await?;
        roots.extend(told.lines().map(PathBuf::from));
    }
    Ok(roots)
}

/// Whether a file begins as a pointer does. One that cannot be read is none; that it is missing is a change to git.
async fn is_pointer(path: &Path) -> bool {
    let Ok(file) = tokio::fs::File::open(path).await else {
        return false;
    };
    let mut begins = Vec::new();
    let read = file.take(FIRST_LINE.len() as u64).read_to_end(&mut begins).await;
    read.is_ok() && begins == FIRST_LINE
}
