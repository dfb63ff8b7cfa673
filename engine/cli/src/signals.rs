//! Signals: the first asks a run to stop, the second stops it now.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Listens for SIGINT, SIGTERM and SIGHUP, and passes on the name of each one that comes.
pub(crate) fn listen() -> std::io::Result<mpsc::UnboundedReceiver<&'static str>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for (kind, name) in [
        (SignalKind::interrupt(), "SIGINT"),
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::hangup(), "SIGHUP"),
    ] {
        tokio::spawn(pass_on(signal(kind)?, name, sender.clone()));
    }
    Ok(receiver)
}

async fn pass_on(mut signals: Signal, name: &'static str, to: mpsc::UnboundedSender<&'static str>) {
    while signals.recv().await.is_some() {
        if to.send(name).is_err() {
            return;
        }
    }
}
