//! A line to the API server on which everything takes longer.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::plane::Plane;

/// A kubeconfig that leads through such a line. A request and its answer take all of the delay, half of it each way; how
/// much is under way at once is not limited.
pub(crate) async fn kubeconfig(plane: &Plane, delay: Duration) -> Result<PathBuf> {
    let text = std::fs::read_to_string(plane.kubeconfig())?;
    let (_, rest) = text.split_once("https://").context("no server")?;
    let server = rest.split('"').next().context("no server")?.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let path = plane.folder().join("kubeconfig-far");
    std::fs::write(&path, text.replace(&server, &address))?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(pass(near, server.clone(), delay / 2));
        }
    });
    Ok(path)
}

async fn pass(near: TcpStream, server: String, later: Duration) {
    let Ok(far) = TcpStream::connect(&server).await else {
        return;
    };
    // Whatever is sent is to arrive just this much later, and not when the next packet is full.
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return;
    }
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::join!(one_way(near_in, far_out, later), one_way(far_in, near_out, later));
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, later: Duration) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + later, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
