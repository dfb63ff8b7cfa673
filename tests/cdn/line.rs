//! A line to a server that speaks HTTP: cut at one request, before it arrives or when its reply is on the way back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Where a line is cut: at the first request whose line begins so; `ID` stands for any one piece of a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// The server never gets it.
    Before(&'static str),
    /// The server has done it, and nobody learns of it.
    After(&'static str),
}

/// A line on a port of its own, for as long as its runtime lives.
pub(super) struct Line {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    cut: Mutex<Option<Cut>>,
    hit: AtomicBool,
}

impl Line {
    /// To a server by its address, such as `http://127.0.0.1:40123`.
    pub(super) async fn to(endpoint: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let state = Arc::<State>::default();
        let (target, shared) = (endpoint.trim_start_matches("http://").to_owned(), state.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, state) = (target.clone(), shared.clone());
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        state.carry(client, server).await;
                    }
                });
            }
        });
        Ok(Self { port, state })
    }

    /// Its own address.
    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes one cut from now on.
    pub(super) fn arm(&self, cut: Cut) {
        *self.state.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
    }

    /// Whether the cut was made: proof that a test hit what it meant to.
    pub(super) fn hit(&self) -> bool {
        self.state.hit.load(Ordering::SeqCst)
    }
}

impl State {
    /// Carries bytes both ways until either side closes or the cut falls.
    async fn carry(&self, mut client: TcpStream, mut server: TcpStream) {
        let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        let mut held = false;
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let Ok(count @ 1..) = read else { return };
                    match self.falls_at(&up[..count]) {
                        Some(Cut::Before(_)) => return self.hold(client).await,
                        Some(Cut::After(_)) => held = true,
                        None => {}
                    }
                    if server.write_all(&up[..count]).await.is_err() { return }
                }
                read = server.read(&mut down) => {
                    let Ok(count @ 1..) = read else { return };
                    if held {
                        return self.hold(client).await;
                    }
                    if client.write_all(&down[..count]).await.is_err() { return }
                }
            }
        }
    }

    /// The cut, where it falls at what a client begins to say; it is over by that.
    fn falls_at(&self, said: &[u8]) -> Option<Cut> {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        let (Cut::Before(wanted) | Cut::After(wanted)) = (*cut)?;
        begins(said, wanted).then(|| cut.take()).flatten()
    }

    /// Lets nothing through until the client is gone.
    async fn hold(&self, mut client: TcpStream) {
        self.hit.store(true, Ordering::SeqCst);
        let mut rest = [0; 4096];
        while matches!(client.read(&mut rest).await, Ok(1..)) {}
    }
}

fn begins(said: &[u8], wanted: &str) -> bool {
    let said = String::from_utf8_lossy(said);
    let mut pieces = said.split('/');
    wanted.split('/').all(|piece| {
        pieces
            .next()
            .is_some_and(|found| piece == "ID" || found.starts_with(piece))
    })
}
