//! What an API server may answer, or fail to, at any request of a step: each is lived through, and the end is the same.

use std::time::{Duration, Instant};

use futures::future::join_all;
use jm_client_kubernetes::Discovery;
use jm_provider_kubernetes::{Pods, Quiesce, Ready, Resume, RolloutUndo, Scale, SetImage};
use jm_step::{AnyStepType, StepErrorKind};
use jm_testkit::StepBench;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::place::{Place, bench, create, open};
use crate::proxy::{Fault, Proxy};
use crate::server::Server;

/// How often the engine tries a step whose error may pass.
const ATTEMPTS: usize = 3;
/// What may become of a question.
pub(crate) const OF_READS: [Fault; 4] = [Fault::Status(429), Fault::Status(500), Fault::Status(504), Fault::Cut];
/// What may become of a change: two writers at one moment, besides, and an answer that is lost.
pub(crate) const OF_WRITES: [Fault; 6] = [
    Fault::Status(409),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(504),
    Fault::Cut,
    Fault::CutAfter,
];

/// Runs a step as the engine does: tried again where its error may pass, with what it saved.
pub(crate) async fn live_through(mut bench: StepBench, step: &dyn AnyStepType, input: &Value) -> Value {
    for attempt in 1.. {
        let ran = bench.run(step, input.clone()).await;
        if let Some(saved) = ran.outputs.last() {
            bench = bench.saved_output(saved.clone());
        }
        match ran.result.expect("it came to its end") {
            Ok(output) => return output,
            Err(error) if error.kind().is_transient() && attempt < ATTEMPTS => {}
            Err(error) => panic!("{} after {attempt} attempts: {error}", step.name()),
        }
    }
    unreachable!()
}

/// What a step does to `web`, and how that is seen.
struct Deed {
    step: &'static dyn AnyStepType,
    input: Value,
    /// What is done before it.
    before: Option<(&'static dyn AnyStepType, Value)>,
    /// Replicas, the mark, and the image that are there afterwards.
    after: (i32, Option<&'static str>, &'static str),
}

const ONE: &str = "registry.example/web:1";
const TWO: &str = "registry.example/web@sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn deeds() -> Vec<Deed> {
    let web = json!({ "workloads": ["deployment/web"] });
    let quiesced = json!({ "quiesced": { "workloads": [{ "workload": "deployment/web", "replicas": 1 }] } });
    let two = json!({ "workload": "deployment/web", "container": "main", "image": TWO });
    vec![
        Deed {
            step: &Quiesce,
            input: web.clone(),
            before: None,
            after: (0, Some("1"), ONE),
        },
        Deed {
            step: &Resume,
            input: quiesced,
            before: Some((&Quiesce, web)),
            after: (1, None, ONE),
        },
        Deed {
            step: &Scale,
            input: json!({ "workload": "deployment/web", "replicas": 2 }),
            before: None,
            after: (2, None, ONE),
        },
        Deed {
            step: &SetImage,
            input: two.clone(),
            before: None,
            after: (1, None, TWO),
        },
        Deed {
            step: &RolloutUndo,
            input: json!({ "workload": "deployment/web" }),
            before: Some((&SetImage, two)),
            after: (1, None, ONE),
        },
    ]
}

impl Deed {
    /// A place where it can be done, and a proxy to do it through.
    async fn begin<'s>(&self, server: &'s Server) -> (Place<'s>, Proxy, StepBench) {
        let place = Place::with_web(server, 1).await;
        if let Some((step, input)) = &self.before {
            place.bench().await.run(*step, input.clone()).await.output();
        }
        let proxy = Proxy::to(server).await;
        let bench = bench(&proxy.kubeconfig, &place.namespace).await;
        proxy.forget();
        (place, proxy, bench)
    }

    /// The requests that it is made of, each by the number of its first time: what is asked again and again is one.
    async fn requests(&self, server: &Server) -> Vec<(usize, String)> {
        let (_, proxy, bench) = self.begin(server).await;
        bench.run(self.step, self.input.clone()).await.output();
        let mut all: Vec<(usize, String)> = Vec::new();
        for (number, asked) in proxy.forget().into_iter().enumerate() {
            if all.iter().all(|(_, before)| *before != asked) {
                all.push((number, asked));
            }
        }
        all
    }

    /// Does it with a fault at one of its requests, and looks at what came of it.
    async fn with(&self, server: &Server, nth: usize, fault: Fault) {
        let when = format!("{} with {fault:?} at request {nth}", self.step.name());
        let (place, proxy, bench) = self.begin(server).await;
        proxy.fail(1, fault, move |number, _| number == nth);
        live_through(bench, self.step, &self.input).await;
        assert!(proxy.forget().len() > nth, "{when}: there was none");
        let web = place.api::<Deployment>().get("web").await.expect("it is there");
        let web = serde_json::to_value(web).expect("JSON");
        let image = web.pointer("/spec/template/spec/containers/0/image");
        let (replicas, mark) = place.count("web").await;
        let found = (replicas, mark.as_deref(), image.and_then(Value::as_str));
        assert_eq!(found, (self.after.0, self.after.1, Some(self.after.2)), "{when}");
    }
}

pub(crate) async fn whatever_fails_once_is_lived_through(server: &Server) {
    for deed in deeds() {
        let mut cases = Vec::new();
        for (nth, asked) in deed.requests(server).await {
            let reads = asked.starts_with("GET");
            let faults = if reads {
                OF_READS.as_slice()
            } else {
                OF_WRITES.as_slice()
            };
            cases.extend(faults.iter().map(|fault| deed.with(server, nth, *fault)));
        }
        // A look, and a write, at the least.
        assert!(
            cases.len() >= OF_READS.len() + OF_WRITES.len(),
            "{}: {}",
            deed.step.name(),
            cases.len()
        );
        join_all(cases).await;
    }
}

pub(crate) async fn a_server_that_has_too_much_to_do_is_left_alone_as_long_as_it_asks(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let proxy = Proxy::to(server).await;
    let bench = bench(&proxy.kubeconfig, &place.namespace).await;
    proxy.fail(2, Fault::Status(429), |_, asked| asked.contains("/pods?"));
    let began = Instant::now();
    let output = bench.run(&Pods, json!({})).await.output();
    assert_eq!(output["pods"].as_array().map(Vec::len), Some(1));
    assert!(began.elapsed() >= Duration::from_secs(2), "a second each time");
}

pub(crate) async fn a_list_whose_place_is_forgotten_is_begun_anew(server: &Server) {
    let place = Place::new(server).await;
    let names: Vec<String> = (0..12).map(|index| format!("c-{index:02}")).collect();
    for name in &names {
        create(&place.api::<ConfigMap>(), json!({ "metadata": { "name": name } })).await;
    }
    let proxy = Proxy::to(server).await;
    let cluster = open(&proxy.kubeconfig, &place.namespace).await;
    let discovery: Discovery = cluster.discover().await.expect("its kinds");
    let kind = discovery.find("v1", "ConfigMap").expect("a kind").clone();
    let read = async || -> Result<Vec<String>, jm_step::StepError> {
        let mut pages = cluster.pages(&kind, Some(&place.namespace)).of(5);
        let mut found = Vec::new();
        while let Some(page) = pages.next().await? {
            let of_test = page.iter().filter_map(|object| object["metadata"]["name"].as_str());
            found.extend(of_test.filter(|name| name.starts_with("c-")).map(str::to_owned));
        }
        found.sort();
        Ok(found)
    };
    proxy.fail(2, Fault::Status(410), |_, asked| asked.contains("continue="));
    assert_eq!(
        read().await.expect("all of them"),
        names,
        "each once, and none left out"
    );
    proxy.forget();
    proxy.fail(usize::MAX, Fault::Status(410), |_, asked| asked.contains("continue="));
    let error = read().await.expect_err("it never gets on");
    assert_eq!(error.kind(), StepErrorKind::Unavailable);
    assert!(error.message().contains("forgotten"), "{error}");
}

pub(crate) async fn a_token_that_runs_out_is_read_anew(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let proxy = Proxy::to(server).await;
    let bench = bench(&proxy.kubeconfig, &place.namespace).await;
    let asks = async || bench.run(&Pods, json!({})).await.result.expect("it came to its end");
    asks().await.expect("known");

    // Nobody has renewed it.
    proxy.let_in("second-token");
    let error = asks().await.expect_err("not known any more");
    assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("renew")), "{error}");
    // Somebody has; and a write with an old token is sent once more as well as a read.
    proxy.write_user(&json!({ "token": "second-token" }), None);
    asks().await.expect("known again");
    proxy.let_in("third-token");
    proxy.write_user(&json!({ "token": "third-token" }), None);
    live_through(
        bench.clone(),
        &Scale,
        &json!({ "workload": "deployment/web", "replicas": 2, "wait": false }),
    )
    .await;
    assert_eq!(place.count("web").await.0, 2);

    // A kubeconfig that names another server by now leads nobody there.
    proxy.let_in("fourth-token");
    let stranger = Proxy::to(server).await;
    stranger.let_in("fourth-token");
    let elsewhere = std::fs::read_to_string(&stranger.kubeconfig).expect("a kubeconfig");
    let elsewhere: Value = serde_json::from_str(&elsewhere).expect("JSON");
    let elsewhere = elsewhere["clusters"][0]["cluster"]["server"]
        .as_str()
        .expect("an address");
    proxy.write_user(&json!({ "token": "fourth-token" }), Some(elsewhere));
    assert_eq!(
        asks().await.expect_err("it stays where it is").kind(),
        StepErrorKind::Denied
    );
    assert_eq!(stranger.forget(), Vec::<String>::new());
}

/// As clouds have it: a program tells the token, here without saying how long it is good for.
pub(crate) async fn a_program_that_tells_tokens_is_asked_again(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let proxy = Proxy::to(server).await;
    let told = proxy.file("told.json");
    let tell = |token: &str| {
        let told_now = json!({ "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": { "token": token } });
        std::fs::write(&told, told_now.to_string()).expect("written");
    };
    tell("first-token");
    let exec = json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1", "command": "cat",
        "args": [told.display().to_string()], "interactiveMode": "Never" } });
    proxy.write_user(&exec, None);
    let bench = bench(&proxy.kubeconfig, &place.namespace).await;
    bench.run(&Pods, json!({})).await.output();
    proxy.let_in("second-token");
    tell("second-token");
    bench.run(&Pods, json!({})).await.output();

    // People are told which program it is.
    let program = format!("`cat {}`", told.display());
    let nodes = json!({ "nodes": 0 });
    let foretold = bench.preview(&Ready, nodes.clone()).await.expect("a preview");
    assert!(foretold.summary.contains(&program), "{}", foretold.summary);
    let ran = bench.run(&Ready, nodes).await;
    assert!(ran.log.iter().any(|line| line.contains(&program)), "{:?}", ran.log);
}
