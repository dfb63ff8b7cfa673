//! The line to an API server, which a test can cut, stall and mend; or that breaks after so many bytes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
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

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the server: a request that is cut short was never heard.
    There,
    /// From the server: an answer that is cut short leaves it open what was done.
    Back,
}

/// How many bytes have passed, of all connections together, and with how many the line breaks.
#[derive(Default)]
struct Meter {
    passed: AtomicU64,
    /// 0 for never.
    most: AtomicU64,
}

impl Meter {
    /// How many of so many bytes may still pass.
    fn take(&self, bytes: usize) -> usize {
        let before = self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
        match self.most.load(Ordering::Relaxed) {
            0 => bytes,
            most => usize::try_from(most.saturating_sub(before)).map_or(bytes, |left| left.min(bytes)),
        }
    }
}

/// A line to a server, with a kubeconfig that leads through it.
pub(crate) struct Line {
    pub(crate) kubeconfig: PathBuf,
    state: Arc<watch::Sender<State>>,
    meters: Arc<[Meter; 2]>,
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
        let state = Arc::new(watch::Sender::new(State::Up));
        let meters = Arc::default();
        tokio::spawn(accept(listener, server, Arc::clone(&state), Arc::clone(&meters)));
        Self {
            kubeconfig: path,
            state,
            meters,
            _folder: folder,
        }
    }

    /// How many bytes have passed one way.
    pub(crate) fn passed(&self, way: Way) -> u64 {
        self.meters[way as usize].passed.load(Ordering::Relaxed)
    }

    /// Breaks the line, for all connections, in the middle of whatever makes it more than so many bytes one way.
    pub(crate) fn break_after(&self, way: Way, bytes: u64) {
        let meter = &self.meters[way as usize];
        let most = meter.passed.load(Ordering::Relaxed) + bytes;
        meter.most.store(most.max(1), Ordering::Relaxed);
    }

    /// Mends it for good.
    pub(crate) fn mend(&self) {
        for meter in self.meters.iter() {
            meter.most.store(0, Ordering::Relaxed);
        }
        self.set(State::Up);
    }

    /// Waits until it is broken.
    pub(crate) async fn broken(&self) {
        let mut seen = self.state.subscribe();
        seen.wait_for(|state| *state == State::Cut).await.expect("it is there");
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: Arc<watch::Sender<State>>, meters: Arc<[Meter; 2]>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (state, meters) = (Arc::clone(&state), Arc::clone(&meters));
        tokio::spawn(async move { pass(stream, server, &state, &meters).await });
    }
}

async fn pass(mut near: TcpStream, server: SocketAddr, line: &watch::Sender<State>, meters: &[Meter; 2]) {
    let mut state = line.subscribe();
    let Ok(mut far) = TcpStream::connect(server).await else {
        return;
    };
    let (mut near_in, mut near_out) = near.split();
    let (mut far_in, mut far_out) = far.split();
    loop {
        let now = *state.borrow_and_update();
        let changed = match now {
            State::Cut => return,
            State::Stalled => state.changed().await,
            State::Up => tokio::select! {
                changed = state.changed() => changed,
                () = carry(&mut near_in, &mut far_out, line, &meters[Way::There as usize]) => return,
                () = carry(&mut far_in, &mut near_out, line, &meters[Way::Back as usize]) => return,
            },
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Carries bytes until there are no more, or the line breaks.
async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    line: &watch::Sender<State>,
    meter: &Meter,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let allowed = meter.take(count);
        if to.write_all(&buffer[..allowed]).await.is_err() {
            return;
        }
        if allowed < count {
            line.send_replace(State::Cut);
            return;
        }
    }
}
