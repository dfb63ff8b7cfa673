//! Lines that are cut, fall silent or crawl in the middle of a part, both ways, and what comes through all the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jm_step::{StepError, StepErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::Floor;

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Reset,
    Silence,
    /// One byte a second.
    Crawl,
}

const FAULTS: [Fault; 3] = [Fault::Reset, Fault::Silence, Fault::Crawl];
/// So many bytes go well in a connection that has a fault.
const WELL: usize = 3 * MIB;

/// Passes bytes on; the connections that carry much have the fault, so many of them.
struct Line {
    address: SocketAddr,
    faults: Arc<AtomicUsize>,
}

impl Line {
    fn start(to: SocketAddr, fault: Fault, most: usize) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // What lies in the buffers of this machine is no measure of what a line carries.
        socket.set_recv_buffer_size(64 * 1024).expect("set");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener: TcpListener = socket.listen(64).expect("listens");
        let address = listener.local_addr().expect("an address");
        let faults = Arc::new(AtomicUsize::new(0));
        let counted = faults.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to, fault, most, counted.clone()));
            }
        });
        Self { address, faults }
    }

    async fn open(&self, store: &Store) -> S3Bucket {
        let endpoint = format!("http://{}", self.address);
        let line = Floor {
            least_bytes_per_second: 1024,
            stall_seconds: 2,
        };
        store
            .open("lines", |config| {
                config.endpoint = Some(endpoint);
                config.line = line;
            })
            .await
    }

    fn faults(&self) -> usize {
        self.faults.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, to: SocketAddr, fault: Fault, most: usize, faults: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(to).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = copy(&mut from_client, &mut to_server, fault, most, &faults);
    let down = copy(&mut from_server, &mut to_client, fault, most, &faults);
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    fault: Fault,
    most: usize,
    faults: &AtomicUsize,
) {
    let mut chunk = vec![0; 64 * 1024];
    let mut passed = 0;
    loop {
        let Ok(read @ 1..) = from.read(&mut chunk).await else {
            return;
        };
        passed += read;
        if passed > WELL && faults.fetch_add(1, Ordering::SeqCst) < most {
            return happen(fault, &chunk[..read], to).await;
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
        passed = if passed > WELL { 0 } else { passed };
    }
}

async fn happen(fault: Fault, rest: &[u8], to: &mut (impl AsyncWriteExt + Unpin)) {
    match fault {
        Fault::Reset => {}
        Fault::Silence => std::future::pending().await,
        Fault::Crawl => {
            for byte in rest {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if to.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn tried_to_read(bucket: &S3Bucket) -> Result<Vec<u8>, StepError> {
    let mut content = Vec::new();
    let mut stream = bucket.get("k", Get::default()).await?;
    stream.read_to_end(&mut content).await.map_err(unwrap_step_error)?;
    Ok(content)
}

#[tokio::test]
async fn a_part_on_a_line_with_a_fault_is_sent_and_asked_for_again() {
    let content = noise(20 * MIB);
    for store in stores().await {
        let straight = store.bucket("lines").await;
        for fault in FAULTS {
            let up = Line::start(store.address(), fault, 2);
            let uploaded = up.open(&store).await.put("k", &content[..], Put::default()).await;
            let uploaded = uploaded.unwrap_or_else(|error| panic!("{} {fault:?}: {error:?}", store.name));
            assert_eq!((uploaded.bytes, uploaded.parts), (content.len() as u64, 3));
            assert!(up.faults() >= 2, "{} {fault:?}: the line was well", store.name);
            assert!(read(&straight, "k", Get::default()).await == content, "{fault:?}");
            assert_eq!(uploads(&straight).await, 0, "{fault:?}");

            let down = Line::start(store.address(), fault, 2);
            let content_read = tried_to_read(&down.open(&store).await).await;
            let content_read = content_read.unwrap_or_else(|error| panic!("{} {fault:?}: {error:?}", store.name));
            assert!(content_read == content, "{} {fault:?}", store.name);
            assert!(down.faults() >= 2, "{} {fault:?}: the line was well", store.name);
        }
    }
}

#[tokio::test]
async fn a_line_that_never_does_is_given_up_with_what_it_lacks() {
    let content = noise(9 * MIB);
    let store = Store::versitygw().await;
    store
        .bucket("lines")
        .await
        .put("k", &content[..], Put::default())
        .await
        .expect("written");
    for fault in [Fault::Silence, Fault::Crawl] {
        let line = Line::start(store.address(), fault, usize::MAX);
        let bucket = line.open(&store).await;
        let began = Instant::now();
        let error = bucket
            .put("other", &content[..], Put::default())
            .await
            .expect_err("no part gets through");
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{fault:?}: {:?}",
            began.elapsed()
        );
        assert_stalled(&error);
    }
}

fn assert_stalled(error: &StepError) {
    assert_eq!(error.kind(), StepErrorKind::TimedOut, "{error}");
    assert!(
        error.message().contains("fewer than 1024 bytes a second for 2 s"),
        "{error}"
    );
    assert!(
        error.hint_text().is_some_and(|hint| hint.contains("`line`")),
        "{error:?}"
    );
}
