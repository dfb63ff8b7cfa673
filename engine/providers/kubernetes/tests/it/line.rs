//! The line to an API server, which a test can cut, stall and mend.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    /// Connections are closed, and closed again as soon as they are made.
    Cut,
    /// Connections stay, and nothing comes through.
    Stalled,
}

/// A line to a server, with a kubeconfig that leads through it.
pub(crate) struct Line {
    pub(crate) kubeconfig: PathBuf,
    state: watch::Sender<State>,
    _folder: tempfile::TempDir,
}

impl Line {
    /// A line to the server of this kubeconfig.
    pub(crate) async fn to(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig");
        let (_, rest) = text.split_once("https://").expect("a server");
        let end = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
            .unwrap_or(rest.len());
        let server: SocketAddr = rest[..end].parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, text.replace(&server.to_string(), &own.to_string())).expect("written");
        let (state, seen) = watch::channel(State::Up);
        tokio::spawn(accept(listener, server, seen));
        Self {
            kubeconfig: path,
            state,
            _folder: folder,
        }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: watch::Receiver<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(pass(stream, server, state.clone()));
    }
}

async fn pass(mut near: TcpStream, server: SocketAddr, mut state: watch::Receiver<State>) {
    let Ok(mut far) = TcpStream::connect(server).await else {
        return;
    };
    loop {
        let now = *state.borrow_and_update();
        let changed = match now {
            State::Cut => return,
            State::Stalled => state.changed().await,
            State::Up => tokio::select! {
                changed = state.changed() => changed,
                _ = copy_bidirectional(&mut near, &mut far) => return,
            },
        };
        if changed.is_err() {
            return;
        }
    }
}
