//! An edge that is a real cache: nginx, before the sandbox's stand-in, which is then what CloudFront's regional caches are.
//! What an invalidation names is dropped at it by somebody who hears of invalidations from CloudFront alone.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::World;

/// nginx in a folder of its own, ended with this value.
pub(super) struct Edge {
    folder: PathBuf,
    port: u16,
    server: Child,
}

impl Edge {
    /// An edge that takes from `origin`, an address such as `http://127.0.0.1:40123/`.
    pub(super) fn start(folder: &Path, origin: &str) -> Result<Self> {
        let program =
            std::env::var("JM_TEST_NGINX").context("JM_TEST_NGINX is not set: run the tests by `tests/run`")?;
        std::fs::create_dir_all(folder)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let configuration = folder.join("nginx.conf");
        let origin = origin.trim_start_matches("http://").trim_end_matches('/');
        std::fs::write(&configuration, configured(folder, port, origin))?;
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", &program, "-e", "stderr", "-p"])
            .arg(folder)
            .arg("-c")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log"))?)
            .spawn()?;
        let edge = Self {
            folder: folder.to_owned(),
            port,
            server,
        };
        for _ in 0..200 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(edge);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        anyhow::bail!(
            "nginx does not answer: {}",
            std::fs::read_to_string(folder.join("log"))?
        )
    }

    /// Where viewers reach it.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Runs `work`, and meanwhile does at this edge what CloudFront does at its own. Gives what `work` gives, and how many
    /// invalidations there were.
    pub(super) fn following<T>(&self, world: &World, work: impl FnOnce() -> Result<T>) -> Result<(T, usize)> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let follower = scope.spawn(|| self.follow(world, &done));
            let outcome = work();
            done.store(true, Ordering::SeqCst);
            let followed = follower.join().map_err(|_| anyhow::anyhow!("the follower panicked"))?;
            Ok((outcome?, followed?))
        })
    }

    fn follow(&self, world: &World, done: &AtomicBool) -> Result<usize> {
        let mut known = BTreeSet::new();
        while !done.load(Ordering::SeqCst) {
            for id in invalidations(world)? {
                if known.insert(id.clone()) {
                    self.drop_paths(&paths(world, &id)?)?;
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(known.len())
    }

    /// Drops what is cached under these paths; `*` at the end of one stands for anything.
    fn drop_paths(&self, paths: &[String]) -> Result<()> {
        let covers = |pattern: &String, path: &str| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => pattern == path,
        };
        for entry in std::fs::read_dir(self.folder.join("cache"))? {
            let file = entry?.path();
            let content = std::fs::read(&file)?;
            let head = String::from_utf8_lossy(&content[..content.len().min(4096)]).into_owned();
            let key = head.lines().find_map(|line| line.strip_prefix("KEY: "));
            let key = key.with_context(|| format!("`{}` has no key", file.display()))?;
            if paths.iter().any(|path| covers(path, key)) {
                std::fs::remove_file(&file)?;
            }
        }
        Ok(())
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// Keeps for a day what does not say how long it may be kept, as CloudFront does, and for as long as it says what does.
fn configured(folder: &Path, port: u16, origin: &str) -> String {
    let at = folder.display();
    let places: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .concat();
    format!(
        "daemon off;
master_process off;
pid {at}/pid;
error_log stderr warn;
events {{ worker_connections 128; }}
http {{
access_log off;
{places}proxy_cache_path {at}/cache keys_zone=edge:1m inactive=1d use_temp_path=off;
server {{
  listen 127.0.0.1:{port};
  location / {{
    proxy_pass http://{origin};
    proxy_set_header Host {origin};
    proxy_cache edge;
    proxy_cache_key $uri;
    proxy_cache_valid 200 1d;
    proxy_hide_header x-cache;
    add_header x-cache $upstream_cache_status always;
  }}
}}
}}
"
    )
}

/// The ids of all invalidations that somebody has asked CloudFront for, by AWS's own client.
pub(super) fn invalidations(world: &World) -> Result<Vec<String>> {
    let id = world.systems.variable("CLOUDFRONT_DISTRIBUTION_ID");
    let listed = world.aws(&["cloudfront", "list-invalidations", "--distribution-id", id])?;
    let listed: Value = serde_json::from_str(&listed)?;
    let items = listed["InvalidationList"]["Items"].as_array().into_iter().flatten();
    Ok(items
        .filter_map(|item| item["Id"].as_str().map(str::to_owned))
        .collect())
}

fn paths(world: &World, invalidation: &str) -> Result<Vec<String>> {
    let id = world.systems.variable("CLOUDFRONT_DISTRIBUTION_ID");
    let words = [
        "cloudfront",
        "get-invalidation",
        "--distribution-id",
        id,
        "--id",
        invalidation,
    ];
    let told: Value = serde_json::from_str(&world.aws(&words)?)?;
    let paths = told["Invalidation"]["InvalidationBatch"]["Paths"]["Items"].as_array();
    let paths: Vec<String> = paths
        .into_iter()
        .flatten()
        .filter_map(|path| path.as_str().map(str::to_owned))
        .collect();
    ensure!(!paths.is_empty(), "the invalidation names nothing: {told}");
    Ok(paths)
}
