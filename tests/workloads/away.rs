//! An API server that goes away before anybody could look at a service.

use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::NAMESPACE;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{BACKEND, GOOD, MEND, TARGETS, has_succeeded};
use crate::cluster_loss::kubectl;
use crate::environment::{World, file, has_words, journal, of_kind, said};

/// A way to the API server that can be shut.
struct Way {
    is_open: watch::Sender<bool>,
    kubeconfig: String,
}

impl Way {
    fn to(world: &World) -> Result<Self> {
        let kubeconfig = std::fs::read_to_string(world.systems.variable("KUBECONFIG"))?;
        let (_, rest) = kubeconfig.split_once("server: https://").context("a server")?;
        let server = rest.lines().next().context("an address")?.to_owned();
        let listener = world.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let path = world.folder().join("way.kubeconfig");
        let through = kubeconfig.replace(&server, &listener.local_addr()?.to_string());
        std::fs::write(&path, through)?;
        let (is_open, opened) = watch::channel(true);
        world.block_on(async { drop(tokio::spawn(serve(listener, server, opened))) });
        Ok(Self {
            is_open,
            kubeconfig: path.display().to_string(),
        })
    }

    /// Begins the plan, with less patience at its first look, and shuts the way at that.
    fn shut_at_first_look(&self, world: &World) -> Result<Child> {
        let plan = std::fs::read_to_string(file(MEND))?;
        let shorter = plan.replace("attempts: 5", "attempts: 1");
        ensure!(plan != shorter, "the first look is not tried five times");
        let path = world.folder().join("impatient.yaml");
        std::fs::write(&path, shorter)?;
        self.is_open.send_replace(true);
        let before = world.runs()?;
        let mut jm = world.jm();
        jm.args(["plan", "run", &path.display().to_string(), "--yes"])
            .args(TARGETS)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = jm.spawn()?;
        until(|| Ok(world.runs()? > before && is_told(&journal(&world.state())?, "step-started", "watch")))?;
        self.is_open.send_replace(false);
        Ok(child)
    }
}

async fn serve(listener: TcpListener, server: String, is_open: watch::Receiver<bool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let (server, mut is_open) = (server.clone(), is_open.clone());
        tokio::spawn(async move {
            let pass = async {
                let mut upstream = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut upstream).await
            };
            tokio::select! {
                biased;
                _ = is_open.wait_for(|is_open| !is_open) => {}
                _ = pass => {}
            }
        });
    }
}

fn until(is_so: impl Fn() -> Result<bool>) -> Result<()> {
    for _ in 0..2400 {
        if is_so()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("not after two minutes")
}

fn is_told(records: &[Value], kind: &str, step: &str) -> bool {
    of_kind(records, kind).iter().any(|record| record["step"] == step)
}

#[test]
fn a_service_that_nobody_could_look_at_is_not_restarted() -> Result<()> {
    let world = World::sandbox()?;
    let way = Way::to(&world)?;
    // What keeps the first look from its end until the way is shut.
    let slow = "ghcr.io/your-org/journeyman-backend:bad";

    // It stays away: people are called.
    world.deploy(slow)?;
    let output = way.shut_at_first_look(&world)?.wait_with_output()?;
    let (records, text) = (journal(&world.state())?, said(&output));
    ensure!(output.status.code() == Some(4), "{text}");
    ensure!(is_told(&records, "step-failed", "serves"), "{text}");
    ensure!(!is_told(&records, "step-started", "restart"), "{text}");
    ensure!(
        has_succeeded(&records, "escalate") && has_words(&text, "does not answer"),
        "{text}"
    );

    // It comes back, and so has the service.
    let child = way.shut_at_first_look(&world)?;
    let mended = format!("backend={GOOD}");
    kubectl(&world, &["set", "image", BACKEND, &mended, "-n", NAMESPACE])?;
    until(|| Ok(is_told(&journal(&world.state())?, "step-failed", "watch")))?;
    way.is_open.send_replace(true);
    let output = child.wait_with_output()?;
    let (records, text) = (journal(&world.state())?, said(&output));
    ensure!(!is_told(&records, "step-started", "restart"), "{text}");
    ensure!(
        has_succeeded(&records, "again") && has_succeeded(&records, "serves"),
        "{text}"
    );
    Ok(())
}
