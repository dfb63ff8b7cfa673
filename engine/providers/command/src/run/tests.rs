//! With real children.

#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]

use std::time::{Duration, Instant};

use jm_step::testing::Bench;
use jm_step::{AnyStepType, Grade};

use super::*;

fn bench() -> Bench {
    // Tests inherit a PATH as every jm does.
    Bench::new().env("PATH", "/usr/local/bin:/usr/bin:/bin")
}

async fn run_on(bench: &Bench, input: Value) -> Result<Value, StepError> {
    let (cx, _listener) = bench.step();
    AnyStepType::run(&Run, &cx, input).await
}

async fn run(input: Value) -> Result<Value, StepError> {
    run_on(&bench(), input).await
}

#[tokio::test]
async fn what_is_printed_is_the_output_and_goes_to_the_log() {
    let bench = bench();
    let (cx, listener) = bench.step();
    let input = json!({ "shell": "echo one; echo two >&2; echo three" });
    let output = AnyStepType::run(&Run, &cx, input).await.expect("runs");
    assert_eq!(output["stdout"], "one\nthree");
    let mut told = listener.told(cx).await;
    told.log.sort();
    assert_eq!(told.log, ["one", "three", "two"]);
    assert_eq!(told.changes.len(), 1);
}

#[tokio::test]
async fn arguments_reach_the_program_as_they_are() {
    let output = run(json!({ "argv": ["printf", "%s|", "a b", "$HOME", "`id`", "*"] }))
        .await
        .expect("runs");
    assert_eq!(output["stdout"], "a b|$HOME|`id`|*|");
}

#[tokio::test]
async fn json_is_parsed() {
    let output = run(json!({ "argv": ["echo", "{\"rows\": 3}"], "json": true }))
        .await
        .expect("runs");
    assert_eq!(output["json"]["rows"], 3);
    let error = run(json!({ "argv": ["echo", "three"], "json": true }))
        .await
        .expect_err("no JSON");
    assert!(error.message().contains("did not print JSON"), "{error}");
}

#[tokio::test]
async fn long_output_is_cut_and_says_so() {
    let output = run(json!({ "shell": "yes | head -c 100000" })).await.expect("runs");
    assert_eq!(
        (output["stdout"].as_str().map(str::len), &output["truncated"]),
        (Some(MOST_OUTPUT - 1), &json!(true))
    );
    run(json!({ "shell": "yes 1 | head -c 100000", "json": true }))
        .await
        .expect_err("too much JSON");
}

#[tokio::test]
async fn a_bad_end_says_how_and_shows_the_last_words() {
    let error = run(json!({ "shell": "echo no room >&2; exit 3" }))
        .await
        .expect_err("fails");
    assert_eq!(
        (error.kind(), error.message()),
        (StepErrorKind::Failed, "`sh` ended with exit code 3")
    );
    let evidence = error.summary().evidence.expect("evidence");
    assert_eq!(
        (&evidence["exit_code"], &evidence["stderr"]),
        (&json!(3), &json!(["no room"]))
    );
    for (script, hint) in [
        ("echo no room >&2; exit 3", "its last words"),
        ("echo no room; exit 3", "what it printed is in"),
        ("exit 3", "it said nothing"),
    ] {
        let error = run(json!({ "shell": script })).await.expect_err("fails");
        let told = error.summary().hint.expect("a hint");
        assert!(told.contains(hint), "{script}: {told}");
    }
    let error = run(json!({ "shell": "kill -9 $$" })).await.expect_err("killed");
    assert_eq!(error.message(), "`sh` was ended by signal 9");
    let output = run(json!({ "shell": "exit 3", "ok_exit_codes": [0, 3] }))
        .await
        .expect("3 is good here");
    assert_eq!(output["exit_code"], 3);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_not_found() {
    let error = run(json!({ "argv": ["no-such-program-of-jm"] }))
        .await
        .expect_err("not there");
    assert_eq!(error.kind(), StepErrorKind::NotFound);
}

#[tokio::test]
async fn a_dry_run_finds_what_cannot_be_started() {
    let folder = tempfile::tempdir().expect("tempdir");
    std::fs::write(folder.path().join("script"), "#!/bin/sh\n").expect("written");
    let absent = folder.path().join("absent");
    for (input, kind, words) in [
        (
            json!({ "argv": ["no-such-program-of-jm"] }),
            StepErrorKind::NotFound,
            "program `no-such-program-of-jm` is not there",
        ),
        (
            json!({ "argv": ["true"], "dir": absent }),
            StepErrorKind::NotFound,
            "absent`, in which `true` is to run, is not there",
        ),
        (
            json!({ "argv": ["./script"], "dir": folder.path() }),
            StepErrorKind::Denied,
            "may not be executed",
        ),
    ] {
        let previewed = AnyStepType::preview(&Run, &bench().read(), input.clone()).await;
        let (before, then) = (
            previewed.expect_err("it would fail"),
            run(input).await.expect_err("it fails"),
        );
        // What a step before may still change.
        assert_eq!(
            (before.kind(), then.kind()),
            (StepErrorKind::NotFound, kind),
            "{before}; {then}"
        );
        for error in [before, then] {
            assert!(error.message().contains(words), "{error}");
        }
    }
}

#[tokio::test]
async fn only_named_variables_are_seen() {
    let bench = bench().env("CANARY", "canary-1").env("WANTED", "wanted");
    let input = json!({ "argv": ["env"], "inherit_env": ["WANTED", "ABSENT"], "env": { "GIVEN": "given" } });
    let output = run_on(&bench, input).await.expect("runs");
    let seen = output["stdout"].as_str().expect("text");
    assert!(
        seen.contains("WANTED=wanted") && seen.contains("GIVEN=given") && seen.contains("PATH="),
        "{seen}"
    );
    assert!(!seen.contains("CANARY") && !seen.contains("ABSENT"), "{seen}");
}

#[tokio::test]
async fn a_secret_is_handed_over_without_being_seen() {
    // The child looks at all that others can see of it: its arguments, and the environment where it is not named.
    let script = "tr '\\0' '\\n' < /proc/$$/cmdline; tr '\\0' '\\n' < /proc/$$/environ; wc -c";
    let output = run(json!({ "shell": script, "stdin": "canary-7f3a" }))
        .await
        .expect("runs");
    let seen = output["stdout"].as_str().expect("text");
    assert!(
        !seen.contains("canary-7f3a") && seen.trim_end().ends_with("11"),
        "{seen}"
    );

    let bench = bench();
    bench.secrets().register("canary-7f3a");
    let error = run_on(&bench, json!({ "argv": ["echo", "x=canary-7f3a"] }))
        .await
        .expect_err("in an argument");
    assert_eq!(error.kind(), StepErrorKind::InvalidInput);
    assert!(!format!("{error:?}").contains("canary-7f3a"));
}

#[tokio::test]
async fn stdin_that_nobody_reads_is_no_error() {
    run(json!({ "argv": ["true"], "stdin": "x".repeat(1_000_000) }))
        .await
        .expect("runs");
}

#[tokio::test]
async fn it_runs_where_it_is_told_to() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("here.sh");
    std::fs::write(&file, "#!/bin/sh\npwd\n").expect("a file");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let output = run(json!({ "argv": ["./here.sh"], "dir": dir.path() }))
        .await
        .expect("runs");
    let expected = dir.path().canonicalize().expect("a path");
    assert_eq!(output["stdout"].as_str(), expected.to_str());
}

/// Whether a process is there and is not just waiting to be reaped.
fn alive(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

async fn gone(id: &str) -> bool {
    for _ in 0..50 {
        if !alive(id) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn what_it_leaves_running_is_ended_with_it() {
    let begun = Instant::now();
    let output = run(json!({ "shell": "sleep 300 & echo $!" })).await.expect("runs");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(gone(output["stdout"].as_str().expect("an id")).await);
}

#[tokio::test]
async fn told_to_stop_it_ends_with_all_its_children() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = bench();
    let (cx, _listener) = bench.step();
    // The child of the child does not care for being asked to end.
    let script = "sh -c 'trap \"\" TERM; echo $$ > grandchild; sleep 300' & echo $$ > child; wait";
    let running = AnyStepType::run(&Run, &cx, json!({ "shell": script, "dir": dir.path() }));
    let stop = async {
        while std::fs::read_to_string(dir.path().join("grandchild"))
            .unwrap_or_default()
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bench.cancel();
    };
    let (outcome, ()) = tokio::join!(running, stop);
    assert_eq!(outcome.expect_err("stopped").kind(), StepErrorKind::Cancelled);
    for name in ["child", "grandchild"] {
        let id = std::fs::read_to_string(dir.path().join(name)).expect("an id");
        assert!(gone(id.trim()).await, "{name}");
    }
}

/// A program that dies of being told to stop did not fail: nobody knows what it has done by then.
#[tokio::test]
async fn told_to_stop_it_is_cancelled_whichever_comes_first_its_end_or_that_of_its_output() {
    let dir = tempfile::tempdir().expect("a folder");
    for n in 0..40 {
        let bench = bench();
        let (cx, _listener) = bench.step();
        let began = dir.path().join(n.to_string());
        let script = "echo yes > \"$BEGAN\"; exec sleep 300";
        let input = json!({ "shell": script, "env": { "BEGAN": began.display().to_string() } });
        let running = AnyStepType::run(&Run, &cx, input);
        let stop = async {
            while !began.exists() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            bench.cancel();
        };
        let (outcome, ()) = tokio::join!(running, stop);
        assert_eq!(outcome.expect_err("stopped").kind(), StepErrorKind::Cancelled, "{n}");
    }
}

#[tokio::test]
async fn dropped_it_ends_with_all_its_children() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = bench();
    let (cx, _listener) = bench.step();
    let script = "sleep 300 & echo $! > grandchild; wait";
    let running = AnyStepType::run(&Run, &cx, json!({ "shell": script, "dir": dir.path() }));
    tokio::time::timeout(Duration::from_millis(700), running)
        .await
        .expect_err("goes on until it is dropped");
    let id = std::fs::read_to_string(dir.path().join("grandchild")).expect("an id");
    assert!(gone(id.trim()).await);
}

#[tokio::test]
async fn verify_says_whether_it_is_done() {
    let dir = tempfile::tempdir().expect("a folder");
    let input = json!({ "argv": ["mkdir", "made"], "verify": ["test", "-d", "made"], "dir": dir.path() });
    let bench = bench();
    let preview = AnyStepType::preview(&Run, &bench.read(), input.clone())
        .await
        .expect("a preview");
    assert_eq!(
        (preview.grade, preview.summary.as_str()),
        (Grade::Declared, "runs `mkdir made`")
    );
    assert_eq!(
        AnyStepType::probe(&Run, &bench.read(), input.clone())
            .await
            .expect("a probe"),
        Probe::NotStarted
    );

    let (cx, listener) = bench.step();
    let output = AnyStepType::run(&Run, &cx, input.clone()).await.expect("runs");
    assert_eq!(output["already_done"], false);
    assert_eq!(listener.told(cx).await.changes, preview.changes);

    let preview = AnyStepType::preview(&Run, &bench.read(), input.clone())
        .await
        .expect("a preview");
    assert_eq!((preview.grade, preview.changes.len()), (Grade::Verified, 0));
    let probe = AnyStepType::probe(&Run, &bench.read(), input.clone())
        .await
        .expect("a probe");
    assert!(matches!(probe, Probe::Succeeded(_)));
    let output = run(input).await.expect("is done already");
    assert_eq!(output["already_done"], true);
}

/// What runs only where it is known not to be done leaves a file behind.
fn unclear(dir: &std::path::Path, more: Value) -> Value {
    let mut input = json!({ "argv": ["mkdir", "made"], "dir": dir, "verify": ["sh", "-c", "exit 7"] });
    let fields = input.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    input
}

#[tokio::test]
async fn where_verify_cannot_tell_only_what_may_be_repeated_runs() {
    for more in [
        json!({}),
        json!({ "effect": "reversible" }),
        json!({ "repeat": "probe" }),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let bench = bench();
        let preview = AnyStepType::preview(&Run, &bench.read(), unclear(dir.path(), more.clone()))
            .await
            .expect("a preview");
        assert_eq!(preview.grade, Grade::Declared);
        assert!(
            preview.summary.contains("ended with exit code 7"),
            "{}",
            preview.summary
        );
        let error = run_on(&bench, unclear(dir.path(), more)).await.expect_err("unclear");
        assert_eq!(error.kind(), StepErrorKind::Failed, "{error}");
        let hint = error.summary().hint.expect("a hint");
        assert!(
            error.message().contains("was not run") && hint.contains("jm run mark-done"),
            "{error} {hint}"
        );
        assert!(!dir.path().join("made").exists());
    }
    for more in [json!({ "repeat": "safe" }), json!({ "effect": "read-only" })] {
        let dir = tempfile::tempdir().expect("a folder");
        run(unclear(dir.path(), more)).await.expect("runs");
        assert!(dir.path().join("made").exists());
    }
}

#[tokio::test]
async fn without_a_clear_word_a_probe_cannot_tell() {
    let bench = bench();
    for input in [
        json!({ "argv": ["true"] }),
        json!({ "argv": ["true"], "verify": ["sh", "-c", "exit 7"] }),
    ] {
        let probe = AnyStepType::probe(&Run, &bench.read(), input).await.expect("a probe");
        assert!(matches!(probe, Probe::Unknown { .. }));
    }
    let looks = json!({ "argv": ["true"], "effect": "read-only" });
    assert_eq!(
        AnyStepType::probe(&Run, &bench.read(), looks).await.expect("a probe"),
        Probe::NotStarted
    );
}

#[test]
fn the_author_can_promise_less_effect() {
    for (input, effect, repeat) in [
        (json!({}), Effect::Irreversible, Repeat::Probe),
        (json!({ "effect": "reversible" }), Effect::Reversible, Repeat::Probe),
        (json!({ "effect": "read-only" }), Effect::ReadOnly, Repeat::Safe),
        (json!({ "repeat": "safe" }), Effect::Irreversible, Repeat::Safe),
    ] {
        let known = Known::new(input);
        assert_eq!(AnyStepType::effect(&Run, &known), effect);
        assert_eq!(AnyStepType::repeat(&Run, &known), repeat);
    }
}

#[test]
fn nonsense_is_found_before_the_run() {
    for bad in [
        json!({}),
        json!({ "argv": ["true"], "shell": "true" }),
        json!({ "argv": ["ls -l"] }),
        json!({ "argv": ["true"], "env": { "A=B": "c" } }),
        json!({ "argv": ["true"], "ok_exit_codes": [] }),
        json!({ "argv": ["true"], "user": "root" }),
    ] {
        AnyStepType::check(&Run, &bad).expect_err(&bad.to_string());
    }
}

/// Plans are checked by these marks: a script takes no values, and what a program is handed may be a secret.
#[test]
fn the_schema_says_where_values_and_secrets_may_stand() {
    let schema = AnyStepType::input_schema(&Run);
    let fields = &schema["properties"];
    assert_eq!(fields["shell"]["x-jm-literal"], true);
    assert_eq!(fields["env"]["additionalProperties"]["x-jm-secret"], true);
    assert_eq!(fields["argv"]["items"]["x-jm-secret"], Value::Null);
}
