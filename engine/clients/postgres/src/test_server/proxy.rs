//! A proxy in front of a server that cuts connections where a test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

/// When a connection is cut.
#[derive(Debug, Clone)]
pub enum Cut {
    /// Never.
    Never,
    /// As soon as the client sends these bytes, before the server gets them.
    Before(Vec<u8>),
    /// When the client has sent these bytes and the server has begun to answer: the answer is swallowed.
    AfterAnswerTo(Vec<u8>),
}

/// A proxy on a port of its own. Ends with the value.
pub struct Proxy {
    port: u16,
    cuts: Arc<AtomicU32>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Stands before `127.0.0.1:target`. Makes at most `times` cuts, then lets everything through.
    pub async fn start(target: u16, cut: Cut, times: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let cuts = Arc::new(AtomicU32::new(0));
        let task: JoinHandle<()> = tokio::spawn(accept(listener, target, cut, times, cuts.clone()));
        Self {
            port,
            cuts,
            accepting: task.abort_handle(),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections it has cut: proof that a test hit what it meant to.
    pub fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: u16, cut: Cut, times: u32, cuts: Arc<AtomicU32>) {
    while let Ok((client, _)) = listener.accept().await {
        let (cut, cuts) = (cut.clone(), cuts.clone());
        tokio::spawn(async move {
            if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                Box::pin(carry(client, server, &cut, times, &cuts)).await;
            }
        });
    }
}

/// Carries bytes both ways until either side closes or the cut falls.
async fn carry(mut client: TcpStream, mut server: TcpStream, cut: &Cut, times: u32, cuts: &AtomicU32) {
    let mut seen = Vec::new();
    let mut armed = false;
    let (mut up, mut down) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let found = matches(&mut seen, &up[..count], cut);
                if found && matches!(cut, Cut::Before(_)) && take(cuts, times) {
                    return;
                }
                armed |= found;
                if server.write_all(&up[..count]).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if armed && matches!(cut, Cut::AfterAnswerTo(_)) && take(cuts, times) {
                    return;
                }
                armed = false;
                if client.write_all(&down[..count]).await.is_err() { return }
            }
        }
    }
}

/// Whether the bytes that are waited for end in what has just come. The tail of what came before is kept for them.
fn matches(seen: &mut Vec<u8>, new: &[u8], cut: &Cut) -> bool {
    let (Cut::Before(wanted) | Cut::AfterAnswerTo(wanted)) = cut else {
        return false;
    };
    seen.extend_from_slice(new);
    let found = seen.windows(wanted.len()).any(|window| window == wanted);
    let keep = if found {
        0
    } else {
        wanted.len().saturating_sub(1).min(seen.len())
    };
    seen.drain(..seen.len() - keep);
    found
}

fn take(cuts: &AtomicU32, times: u32) -> bool {
    cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |made| {
        (made < times).then_some(made + 1)
    })
    .is_ok()
}
