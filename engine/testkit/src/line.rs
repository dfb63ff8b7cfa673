//! A line to a server on which some requests are refused, or answered by the line itself.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Which requests are refused, and how.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<F> {
    /// Whether a request is, by its head: the first line and the headers, as far as they came with it.
    pub is_meant: F,
    /// What is answered, such as `403 Forbidden`.
    pub status: &'static str,
    /// What is said about it.
    pub body: &'static str,
}

/// What a line says itself.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Such as `200 OK`; further headers may follow, each after a `\r\n`.
    pub status: String,
    /// What comes after the head.
    pub body: &'static str,
}

/// A line to `server` that refuses some requests; its own address. It ends with the runtime that it was made in.
///
/// # Panics
/// Where no port is free.
pub async fn refusing<F>(server: SocketAddr, refusal: Refusal<F>) -> SocketAddr
where
    F: Fn(&str) -> bool + Clone + Send + Sync + 'static,
{
    let answer = move |head: &str| {
        (refusal.is_meant)(head).then(|| Answer {
            status: refusal.status.to_owned(),
            body: refusal.body,
        })
    };
    answering(server, answer).await
}

/// The same that answers those itself to whose heads `answer` has something to say.
///
/// # Panics
/// Where no port is free.
pub async fn answering<F>(server: SocketAddr, answer: F) -> SocketAddr
where
    F: Fn(&str) -> Option<Answer> + Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(server).await else {
                return;
            };
            tokio::spawn(pass_or_answer(client, server, answer.clone()));
        }
    });
    address
}

async fn pass_or_answer(mut client: TcpStream, mut server: TcpStream, answer: impl Fn(&str) -> Option<Answer>) {
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                if let Some(answer) = head(&up[..count]).and_then(|head| answer(&head)) {
                    return say(client, answer).await;
                }
                if server.write_all(&up[..count]).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&down[..count]).await.is_err() { return }
            }
        }
    }
}

/// The head of a request, where these bytes begin with one.
fn head(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said);
    let head = said.split("\r\n\r\n").next().unwrap_or_default();
    let is_head = head.lines().next().is_some_and(|line| line.ends_with("HTTP/1.1"));
    is_head.then(|| head.to_owned())
}

async fn say(mut client: TcpStream, Answer { status, body }: Answer) {
    let head = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}",
        body.len()
    );
    drop(client.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await);
}
