//! Signals: the first asks a run to stop, the second stops it now.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::exit::{CommandError, Exit};

/// For commands that are no run: whether they were told to stop since they began to listen.
#[derive(Debug, Clone)]
pub(crate) struct Interrupted(watch::Receiver<Option<&'static str>>);

impl Interrupted {
    /// Listens from now on, on a thread of its own: signals do not end this process any more.
    pub(crate) fn listen() -> Result<Self, CommandError> {
        let cannot = |error: std::io::Error| CommandError::new(Exit::Bug, "cannot listen for signals").cause(&error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(cannot)?;
        let (sender, receiver) = watch::channel(None);
        let mut signals = {
            let _runtime = runtime.enter();
            listen().map_err(cannot)?
        };
        std::thread::spawn(move || {
            runtime.block_on(async {
                while let Some(name) = signals.recv().await {
                    sender.send_replace(Some(name));
                }
            });
        });
        Ok(Self(receiver))
    }

    /// The error that ends the command, once it was told to stop.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        match *self.0.borrow() {
            Some(name) => Err(CommandError::new(Exit::Stopped, format!("stopped by {name}"))),
            None => Ok(()),
        }
    }

    /// The same for work that takes a while: it is dropped.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = T>) -> Result<T, CommandError> {
        let mut told = self.0.clone();
        tokio::select! {
            done = work => Ok(done),
            _ = told.wait_for(Option::is_some) => {
                self.check()?;
                Err(CommandError::new(Exit::Bug, "nobody listens for signals any more"))
            }
        }
    }
}

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
