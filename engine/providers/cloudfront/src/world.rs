//! The CloudFronts of the tests: the stand-in and ministack, started for a test, ended with it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a stand-in of the tests writes its log to a file"
)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_cloudfront::types::{
    Aliases, DefaultCacheBehavior, DistributionConfig, Origin, Origins, S3OriginConfig, ViewerProtocolPolicy,
};
use jm_client_cloudfront::{CloudFront, Config};
use jm_sandbox::cloudfront::{CloudFrontServer, Pace, Store};
use jm_step::process::{Command, Process, Supervisor};
use jm_step::{Connection, Environment, OpenContext, RunId, Secret, Secrets};
use jm_testkit::StepBench;
use jm_testkit::conformance::World as Conform;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

pub(crate) const ALIAS: &str = "www.example.com";
pub(crate) const ORIGIN: &str = "assets.s3.amazonaws.com";
const KEY: &str = "jm";

pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) distribution: String,
    endpoint: String,
    server: Option<CloudFrontServer>,
    connection: CloudFront,
    // Ended before its folder is removed.
    _process: Option<Process>,
    _dir: TempDir,
}

/// Each CloudFront that there is for tests.
pub(crate) async fn worlds() -> Vec<World> {
    vec![World::stand_in(quick()).await, World::ministack().await]
}

/// A stand-in that completes as soon as it may.
pub(crate) fn quick() -> Pace {
    Pace {
        completes_after: Duration::ZERO,
        completes_after_looks: 1,
        deploys_after: Duration::from_millis(100),
        ..Pace::default()
    }
}

/// Makes stand-ins for a check that wants each of its worlds afresh, and at once.
pub(crate) async fn stand_ins(count: usize, pace: Pace) -> impl Fn() -> World {
    let mut worlds = Vec::new();
    for _ in 0..count {
        worlds.push(World::stand_in(pace).await);
    }
    let worlds = Mutex::new(worlds);
    move || worlds.lock().expect("a lock").pop().expect("enough worlds")
}

impl World {
    pub(crate) async fn stand_in(pace: Pace) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store {
            // No viewer comes to this edge.
            endpoint: "http://127.0.0.1:9".to_owned(),
            access_key: KEY.to_owned(),
            secret_key: "jm-test-secret".to_owned(),
        };
        let listen = "127.0.0.1:0".parse().expect("an address");
        let server = CloudFrontServer::start(dir.path(), listen, &store, pace)
            .await
            .expect("it starts");
        let endpoint = server.endpoint();
        let world = Self::at("stand-in", endpoint, Some(server), None, dir).await;
        // What is being deployed becomes another by itself, between two looks of a test.
        if pace.deploys_after < Duration::from_secs(1) {
            world.deployed().await;
        }
        world
    }

    async fn deployed(&self) {
        for _ in 0..200 {
            if self
                .connection
                .snapshot()
                .await
                .expect("a snapshot")
                .distribution
                .deployed
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{}: the distribution is not deployed", self.name);
    }

    pub(crate) async fn ministack() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let (port, home) = (address.port().to_string(), dir.path().display().to_string());
        let mut command = Command::new(ministack_program());
        for (name, value) in [
            ("BIND_HOST", "127.0.0.1"),
            ("MINISTACK_HOST", "127.0.0.1"),
            ("IOT_MTLS_ENABLED", "0"),
            ("MINISTACK_PORT", &port),
            ("GATEWAY_PORT", &port),
            ("HOME", &home),
            ("TMPDIR", &home),
        ] {
            command = command.env(name, value);
        }
        let process = command
            .output_to(std::fs::File::create(dir.path().join("log")).expect("a file"))
            .spawn(&Supervisor::none(), &Environment::default())
            .expect("ministack starts");
        for _ in 0..600 {
            if TcpStream::connect(address).await.is_ok() {
                return Self::at("ministack", format!("http://{address}"), None, Some(process), dir).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "ministack does not answer: {:?}",
            std::fs::read_to_string(dir.path().join("log"))
        );
    }

    async fn at(
        name: &'static str,
        endpoint: String,
        server: Option<CloudFrontServer>,
        process: Option<Process>,
        dir: TempDir,
    ) -> Self {
        let distribution = distribute(&endpoint).await;
        let connection = open(&endpoint, &distribution).await;
        Self {
            name,
            distribution,
            endpoint,
            server,
            connection,
            _process: process,
            _dir: dir,
        }
    }

    /// The stand-in of a world that is one.
    pub(crate) fn server(&self) -> &CloudFrontServer {
        self.server.as_ref().expect("a stand-in")
    }

    /// A bench that looks at another distribution, or at none.
    pub(crate) async fn bench_of(&self, distribution: &str) -> StepBench {
        StepBench::new().with("cdn", open(&self.endpoint, distribution).await)
    }

    /// The connection.
    pub(crate) fn cdn(&self) -> &CloudFront {
        &self.connection
    }

    /// How many invalidations there have been.
    pub(crate) async fn invalidations(&self) -> usize {
        let call = client(&self.endpoint)
            .list_invalidations()
            .distribution_id(&self.distribution);
        let listed = call.send().await.expect("a list");
        listed.invalidation_list().map_or(0, |list| list.items().len())
    }

    /// What somebody else does at the same time.
    pub(crate) async fn touch(&self) {
        let seen = self.connection.snapshot().await.expect("a snapshot");
        let origin = seen.distribution.origins[0].clone();
        self.connection.set_origin(&seen, &origin).await.expect("changed");
    }
}

impl Conform for World {
    fn bench(&self) -> StepBench {
        StepBench::new().with("cdn", self.connection.clone()).key("run-step-0")
    }
    fn effects(&self) -> usize {
        self.server().invalidations(&self.distribution) + self.server().changes(&self.distribution)
    }
}

async fn open(endpoint: &str, distribution: &str) -> CloudFront {
    let config = Config {
        distribution: distribution.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        access_key_id: Some(KEY.to_owned()),
        secret_access_key: Some(Secret::new("jm-test-secret")),
        ..Config::default()
    };
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: Environment::default(),
        run: RunId::generate(),
    };
    CloudFront::open(config, &cx).await.expect("a client")
}

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_cloudfront::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new(KEY, "jm-test-secret", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// A distribution in front of a bucket, as AWS's own client makes one.
async fn distribute(endpoint: &str) -> String {
    let origin = Origin::builder()
        .id("assets")
        .domain_name(ORIGIN)
        .origin_path("")
        .s3_origin_config(S3OriginConfig::builder().origin_access_identity("").build())
        .build();
    #[expect(deprecated, reason = "the required fields of the service model include it")]
    let behavior = DefaultCacheBehavior::builder()
        .target_origin_id("assets")
        .viewer_protocol_policy(ViewerProtocolPolicy::RedirectToHttps)
        .min_ttl(0)
        .build();
    let config = DistributionConfig::builder()
        .caller_reference("1")
        .comment("a & b")
        .enabled(true)
        .default_root_object("index.html")
        .aliases(Aliases::builder().quantity(1).items(ALIAS).build().expect("complete"))
        .origins(
            Origins::builder()
                .quantity(1)
                .items(origin.expect("complete"))
                .build()
                .expect("complete"),
        )
        .default_cache_behavior(behavior.expect("complete"))
        .build();
    let call = client(endpoint).create_distribution();
    let made = call
        .distribution_config(config.expect("complete"))
        .send()
        .await
        .expect("made");
    made.distribution().expect("a distribution").id().to_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment"
)]
fn ministack_program() -> PathBuf {
    if let Ok(program) = std::env::var("JM_TEST_MINISTACK") {
        return program.into();
    }
    let cache = std::env::var("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|_| Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cache"));
    let program = cache.join("jm/tools/ministack-1.5.33/bin/ministack");
    assert!(
        program.exists(),
        "ministack is missing: run `tests/services/install s3`"
    );
    program
}
