//! How a sandbox that is up is told what is to befall it: a socket in its folder, one request a connection.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::SandboxError;

/// The socket in the sandbox's folder.
const SOCKET: &str = "control.sock";

/// What is to befall it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// The cluster is gone with everything in it, and an empty one is at its address.
    LoseCluster,
}

/// Asks, and waits until it is done.
pub(crate) async fn ask(socket: &Path, request: Request) -> Result<(), SandboxError> {
    let lost = SandboxError::file("ask", socket);
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(&serde_json::to_vec(&request)?).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    match asked.await.map_err(lost)?.as_str() {
        "done" => Ok(()),
        reason => Err(SandboxError::Furnish {
            action: "do what was asked for",
            reason: reason.to_owned(),
        }),
    }
}

/// The end at which the sandbox listens.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens in a folder, for the owner of the process alone.
    pub(crate) fn open(directory: &Path) -> Result<Self, SandboxError> {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join(SOCKET);
        // One that an earlier process of this sandbox left behind.
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path).map_err(SandboxError::file("make", &path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(SandboxError::file("close", &path))?;
        Ok(Self { listener, path })
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a request. What cannot be read is answered, and not handed on.
    pub(crate) async fn next(&self) -> (Request, Answer) {
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            let mut text = Vec::new();
            let read = stream.read_to_end(&mut text).await;
            let answer = Answer(stream);
            match read.and_then(|_| Ok(serde_json::from_slice(&text)?)) {
                Ok(request) => return (request, answer),
                Err(error) => answer.give(&error.to_string()).await,
            }
        }
    }
}

/// Whoever waits for the end of what he asked for.
pub(crate) struct Answer(UnixStream);

impl Answer {
    /// Says how it went.
    pub(crate) async fn of<T>(self, outcome: &Result<T, SandboxError>) {
        match outcome {
            Ok(_) => self.give("done").await,
            Err(error) => self.give(&error.to_string()).await,
        }
    }

    async fn give(mut self, words: &str) {
        // Whoever asked may be gone.
        drop(self.0.write_all(words.as_bytes()).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_answered_with_what_became_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::open(folder.path()).unwrap();
        for outcome in [
            Ok(()),
            Err(SandboxError::Furnish {
                action: "lose",
                reason: "nothing to lose".to_owned(),
            }),
        ] {
            let path = control.path().to_owned();
            let asked = tokio::spawn(async move { ask(&path, Request::LoseCluster).await });
            let (request, answer) = control.next().await;
            assert_eq!(request, Request::LoseCluster);
            answer.of(&outcome).await;
            let said = asked.await.unwrap();
            assert_eq!(said.is_ok(), outcome.is_ok());
            if let Err(error) = said {
                assert!(error.to_string().contains("nothing to lose"), "{error}");
            }
        }
    }
}
