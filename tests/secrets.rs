//! The canary: secrets are planted, the binary does all kinds of work, well and badly, and none of them may be found in
//! the arguments or the environment of a child, in the journal, logs, artefacts, events, reports, temporary files, what is
//! printed, or what people are told; plain, URL-encoded or in base64.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::NAMESPACE;
use serde_json::json;

use crate::backup_kubernetes::BACK_UP;
use crate::cluster_loss::kubectl;
use crate::environment::{JM, RECOVER, World, said};

/// Not letters alone, so that their encoded forms are others.
const KEY: &str = "canary/key+with=signs&32 chars!?";
const TOKEN: &str = "canary-token/of+a=webhook";
const INPUT: &str = "canary input: 100% secret/+=";
const IN_CLUSTER: &str = "canary-of-a-cluster/with+=&signs";
const IN_MANIFEST: &str = "canary-of-a-manifest/with+=&signs";

/// Prints its secret in every form that it knows, and to both streams.
const LEAK: &str = r#"
apiVersion: jm/v1
name: canary
inputs:
  token: { type: secret }
steps:
  - id: leak
    uses: command.run
    on_failure: continue
    with:
      shell: |
        echo "plain $TOKEN"
        echo "plain $TOKEN" >&2
        printf '%s' "$TOKEN" | base64 -w0
        exit 3
      env: { TOKEN: "${{ inputs.token }}" }
      effect: read-only
  - id: output
    uses: command.run
    on_failure: continue
    with:
      shell: printf '%s' "$TOKEN"
      env: { TOKEN: "${{ inputs.token }}" }
      effect: read-only
  - id: other
    uses: command.run
    with: { argv: [env], effect: read-only }
"#;

/// Where something was seen, and what.
struct Seen(Vec<(String, String)>);

impl Seen {
    fn text(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    fn output(&mut self, place: &str, output: &Output) {
        self.text(place, said(output));
    }

    /// Every file below a folder, as text.
    fn folder(&mut self, folder: &Path) -> Result<()> {
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                self.text("a file's name", path.display().to_string());
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = std::fs::read(&path)?;
                    self.text(path.display().to_string(), String::from_utf8_lossy(&content));
                }
            }
        }
        Ok(())
    }

    /// None of the secrets is anywhere, in any form.
    fn holds_none_of(&self, secrets: &BTreeMap<&str, String>) -> Result<()> {
        for (name, secret) in secrets {
            ensure!(secret.len() >= 16, "{name} is too short to be looked for");
            for form in forms(secret) {
                for (place, text) in &self.0 {
                    ensure!(!text.contains(&form), "{name} stands in {place} as `{form}`: {text}");
                }
            }
        }
        Ok(())
    }
}

/// A secret as it is, URL-encoded, in base64 (of either alphabet, with and without its end), and as JSON or Rust would
/// quote it.
fn forms(secret: &str) -> Vec<String> {
    let encoded: String = secret
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let base64 = base64(secret.as_bytes());
    let whole = base64.trim_end_matches('=');
    // What follows may change the last letter.
    let whole = whole[..whole.len() - 1].to_owned();
    let safe = whole.replace('+', "-").replace('/', "_");
    let mut forms = vec![secret.to_owned(), encoded.replace("%20", "+"), encoded, whole, safe];
    forms.sort();
    forms.dedup();
    forms
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, at| {
            bits << 8 | usize::from(chunk.get(at).copied().unwrap_or_default())
        });
        for at in 0..4 {
            let letter = char::from(LETTERS[bits >> (18 - 6 * at) & 63]);
            text.push(if at > chunk.len() { '=' } else { letter });
        }
    }
    text
}

/// A program that was started: all its arguments and its whole environment.
struct Started {
    program: String,
    line: String,
}

/// Runs the binary, and sees every program that it starts, and that those start.
fn traced(world: &World, place: &str, words: &[&str], enter: impl Fn(&mut Command)) -> Result<(Output, Vec<Started>)> {
    let log = world.folder().join(format!("exec-{place}.log"));
    let mut strace = Command::new("strace");
    world.enter(&mut strace);
    enter(&mut strace);
    let output = strace
        .args([
            "-f",
            "-qq",
            "-v",
            "--seccomp-bpf",
            "-s",
            "1000000",
            "-e",
            "trace=execve",
            "-o",
        ])
        .arg(&log)
        .arg(JM)
        .args(words)
        .output()?;
    let text = std::fs::read_to_string(&log)?;
    let started = text.lines().filter_map(|line| {
        let program = line.split_once("execve(\"")?.1.split_once('"')?.0;
        Some(Started {
            program: program.to_owned(),
            line: line.to_owned(),
        })
    });
    // The first is the binary itself, which has to be given its secrets.
    Ok((output, started.skip(1).collect()))
}

fn temporary(world: &World) -> Result<PathBuf> {
    let folder = world.folder().join("tmp");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Plants the secrets in a world; by what they are, and as they are.
fn plant(world: &mut World, temporary: &Path) -> Result<BTreeMap<&'static str, String>> {
    let webhook = format!("{}?token={TOKEN}", world.systems.variable("WEBHOOK_URL"));
    for (name, value) in [
        ("ENCRYPTION_KEY", KEY.to_owned()),
        ("WEBHOOK_URL", webhook.replace('+', "%2B")),
        ("CANARY", INPUT.to_owned()),
        ("TMPDIR", temporary.display().to_string()),
    ] {
        world.systems.environment.insert(name.to_owned(), value);
    }
    let url = world.systems.variable("DATABASE_URL").to_owned();
    Ok(BTreeMap::from([
        (
            "the database's password",
            url.split([':', '@']).nth(2).context("a password")?.to_owned(),
        ),
        ("the key", KEY.to_owned()),
        (
            "the bucket's secret key",
            world.systems.variable("AWS_SECRET_ACCESS_KEY").to_owned(),
        ),
        ("the webhook's token", TOKEN.to_owned()),
        (
            "the webhook's address",
            world.systems.variable("WEBHOOK_URL").to_owned(),
        ),
        ("an input", INPUT.to_owned()),
    ]))
}

/// A Secret of the cluster, and a manifest that gives it another value.
fn plant_in_cluster(world: &World) -> Result<String> {
    let literal = format!("--from-literal=value={IN_CLUSTER}");
    kubectl(
        world,
        &["create", "secret", "generic", "canary", "-n", NAMESPACE, &literal],
    )?;
    let path = world.folder().join("canary-secret.json");
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "canary", "namespace": NAMESPACE },
        "stringData": { "value": IN_MANIFEST } });
    std::fs::write(&path, secret.to_string())?;
    Ok(path.display().to_string())
}

#[test]
fn no_secret_leaves_the_binary() -> Result<()> {
    let mut world = World::sandbox()?;
    let temporary = temporary(&world)?;
    let secrets = plant(&mut world, &temporary)?;
    let mut seen = Seen(Vec::new());
    let mut children = Vec::new();
    let mut go = |seen: &mut Seen, place: &str, words: &[&str], code: i32, wrong: &[(&str, &str)]| -> Result<()> {
        let enter = |command: &mut Command| {
            command.envs(wrong.iter().copied());
        };
        let (output, started) = traced(&world, place, words, enter)?;
        ensure!(output.status.code() == Some(code), "{place}: {}", said(&output));
        seen.output(place, &output);
        children.extend(started);
        Ok(())
    };

    let backup = [
        "step",
        "run",
        "backup.create",
        "--yes",
        "--targets",
        "plans/targets.yaml",
    ];
    go(&mut seen, "backup", &backup, 0, &[])?;
    world.lose_database()?;
    for format in ["human", "json", "markdown"] {
        let words = [&RECOVER[..], &["--dry-run", "--format", format]].concat();
        go(&mut seen, &format!("dry-{format}"), &words, 0, &[])?;
    }
    let manifest = plant_in_cluster(&world)?;
    go(&mut seen, "export", &BACK_UP, 0, &[])?;
    let paths = format!("paths=[\"{manifest}\"]");
    let step = |step_type: &'static str| {
        [
            "step",
            "run",
            step_type,
            "--yes",
            "--targets",
            "plans/targets.yaml",
            "-w",
        ]
    };
    let apply = [&step("kubernetes.apply")[..], &[&paths]].concat();
    let force = ["-w", "on_conflict=force"];
    // Somebody else keeps the value.
    go(&mut seen, "apply", &apply, 4, &[])?;
    for (place, more) in [("dry-apply", "--dry-run"), ("forced-apply", "-v")] {
        go(&mut seen, place, &[&apply[..], &force, &[more]].concat(), 0, &[])?;
    }
    let restore = [&step("kubernetes.restore")[..], &["kinds=[\"Secret\"]"]].concat();
    for (place, more) in [("dry-restore", "--dry-run"), ("restore", "-v")] {
        go(&mut seen, place, &[&restore[..], &force, &[more]].concat(), 0, &[])?;
    }
    let events = world.folder().join("events.jsonl").display().to_string();
    let words = [&RECOVER[..], &["-v", "--events", &events]].concat();
    go(&mut seen, "run", &words, 0, &[])?;
    // What goes wrong is where words slip out.
    let url = world.systems.variable("DATABASE_URL").to_owned();
    let other = url.replace(&secrets["the database's password"], "canary-of-a-wrong-password");
    let not_a_url = url.replace("://", ":/");
    let accept = [&RECOVER[..], &["--accept-data-loss", "1d"]].concat();
    go(
        &mut seen,
        "wrong-key",
        &accept,
        4,
        &[("ENCRYPTION_KEY", "canary of another key/+= 32 chars")],
    )?;
    go(&mut seen, "wrong-password", &accept, 4, &[("DATABASE_URL", &other)])?;
    go(
        &mut seen,
        "wrong-secret-key",
        &accept,
        9,
        &[("AWS_SECRET_ACCESS_KEY", "canary-of-a-wrong-secret-key")],
    )?;
    go(&mut seen, "wrong-url", &accept, 3, &[("DATABASE_URL", &not_a_url)])?;
    let plan = world.folder().join("canary.yaml").display().to_string();
    std::fs::write(&plan, LEAK)?;
    go(
        &mut seen,
        "command",
        &["plan", "run", &plan, "--yes", "-i", "token=env:CANARY"],
        9,
        &[],
    )?;
    let runs = std::fs::read_dir(world.state().join("runs"))?.count();
    ensure!(runs >= 5, "only {runs} runs");
    for words in [
        vec!["run", "list"],
        vec!["run", "show"],
        vec!["run", "show", "--format", "json"],
        vec!["run", "logs"],
        vec!["lock", "show"],
    ] {
        go(&mut seen, &words.join("-"), &words, 0, &[])?;
    }
    seen.folder(&world.state())?;
    seen.text("events", std::fs::read_to_string(&events)?);
    seen.text(
        "told",
        std::fs::read_to_string(world.folder().join("sandbox/webhook.jsonl"))?,
    );
    let left: Vec<_> = std::fs::read_dir(&temporary)?.collect::<Result<_, _>>()?;
    ensure!(left.is_empty(), "temporary files are left: {left:?}");
    ensure!(seen.0.len() > 60, "only {} texts were looked at", seen.0.len());

    let mut secrets = secrets;
    secrets.insert("a Secret of the cluster", IN_CLUSTER.to_owned());
    secrets.insert("a Secret of a manifest", IN_MANIFEST.to_owned());
    secrets.insert("a wrong key", "canary of another key/+= 32 chars".to_owned());
    secrets.insert("a wrong password", "canary-of-a-wrong-password".to_owned());
    secrets.insert("a wrong secret key", "canary-of-a-wrong-secret-key".to_owned());
    let names: Vec<&str> = children
        .iter()
        .map(|child| child.program.rsplit('/').next().unwrap_or_default())
        .collect();
    for program in ["jm", "pg_dump", "pg_restore", "psql", "sh", "base64", "env"] {
        ensure!(names.contains(&program), "{program} was not seen: {names:?}");
    }
    // The one child that is handed a secret by its plan has it in its environment, and nobody else has.
    let (given, others): (Vec<_>, Vec<_>) = children.iter().partition(|child| child.line.contains("\"TOKEN="));
    ensure!(
        given
            .iter()
            .all(|child| ["sh", "base64"].iter().any(|name| child.program.ends_with(name))),
        "others were given the input"
    );
    for child in others {
        seen.text(format!("a start of {}", child.program), child.line.clone());
    }
    for child in given {
        let without = child.line.replace(&format!("\"TOKEN={INPUT}\""), "");
        seen.text(format!("a start of {}", child.program), without);
    }
    seen.holds_none_of(&secrets)
}

/// A kill leaves no time to tidy up: what lay in a file for PostgreSQL's programs is removed by the supervisor.
#[test]
fn no_secret_is_left_by_a_recovery_that_is_killed() -> Result<()> {
    // So many rows that the kill comes while they are restored.
    let mut world = World::sandbox_with(&["--scale", "20"], |_| Ok(()))?;
    let temporary = temporary(&world)?;
    let secrets = plant(&mut world, &temporary)?;
    world.back_up()?;
    world.lose_database()?;
    let output = std::fs::File::create(world.folder().join("said"))?;
    let mut child = world
        .recover()
        .arg("-v")
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    // The programs of the restore have their password from a file.
    let has_files = || std::fs::read_dir(&temporary).is_ok_and(|mut files| files.next().is_some());
    while !has_files() {
        ensure!(child.try_wait()?.is_none(), "it ended, and wrote no temporary file");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()?;
    let began = std::time::Instant::now();
    while has_files() {
        ensure!(began.elapsed().as_secs() < 20, "temporary files are left by the kill");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut seen = Seen(Vec::new());
    seen.folder(&world.state())?;
    seen.text("said", std::fs::read_to_string(world.folder().join("said"))?);
    ensure!(seen.0.len() > 4, "only {} texts were looked at", seen.0.len());
    seen.holds_none_of(&secrets)
}

/// Prints a secret with quotes and one of several lines as programs do: as JSON, line by line, in lines of base64, and
/// with a name before it.
const LEAK_OF_LINES: &str = r#"
apiVersion: jm/v1
name: quotes
inputs:
  quoted: { type: secret }
  lines: { type: secret }
steps:
  - id: json
    uses: command.run
    on_failure: continue
    with:
      shell: printf '{"a":"%s"}' "$(printf '%s' "$QUOTED" | sed 's/\\/\\\\/g; s/"/\\"/g')" | tee /dev/stderr
      env: { QUOTED: "${{ inputs.quoted }}" }
      effect: read-only
  - id: lines
    uses: command.run
    on_failure: continue
    with:
      shell: printf '%s\n' "$LINES" | tee /dev/stderr; exit 3
      env: { LINES: "${{ inputs.lines }}" }
      effect: read-only
  - id: base64
    uses: command.run
    on_failure: continue
    with:
      shell: |
        printf '%s' "$LINES" | base64
        printf 'user:%s' "$QUOTED" | base64 | tee /dev/stderr
        exit 3
      env: { QUOTED: "${{ inputs.quoted }}", LINES: "${{ inputs.lines }}" }
      effect: read-only
"#;

#[test]
fn a_secret_with_quotes_or_of_several_lines_does_not_get_out_either() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    // What no quoting changes: found however often it was escaped.
    let (core, first, second) = ("word-canary-0123456789", "c2VjcmV0-canary-one", "c2VjcmV0-canary-two");
    let quoted = format!(r#"pa"ss\{core}"#);
    let lines = format!("{first}{}\n  {second}\n", "x".repeat(80));
    std::fs::write(at("lines"), &lines)?;
    std::fs::write(at("leak.yaml"), LEAK_OF_LINES)?;
    let output = crate::environment::jm(&at("state"))
        .env("QUOTED", &quoted)
        .args(["plan", "run", "--yes", "-v", "-i", "quoted=env:QUOTED", "-i"])
        .arg(format!("lines=file:{}", at("lines").display()))
        .arg("--events")
        .arg(at("events"))
        .arg(at("leak.yaml"))
        .output()?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    let mut seen = Seen(Vec::new());
    seen.output("run", &output);
    seen.text("events", std::fs::read_to_string(at("events"))?);
    seen.folder(&at("state"))?;
    ensure!(seen.0.len() > 5, "only {} texts were looked at", seen.0.len());
    let masked = seen.0.iter().filter(|(_, text)| text.contains("[secret]")).count();
    ensure!(masked > 3, "what the steps print was seen in {masked} places only");
    let in_base64 = base64(format!("user:{quoted}").as_bytes());
    let of_lines = base64(lines.as_bytes());
    let (basic, line) = (&in_base64[8..in_base64.len() - 4], &of_lines[..76]);
    for (place, text) in &seen.0 {
        for part in [core, first, second, basic, line] {
            ensure!(!text.contains(part), "{place} holds {part}: {text}");
        }
    }
    Ok(())
}

/// What the canary looks for is found where it is.
#[test]
fn the_canary_sings() -> Result<()> {
    let secrets = BTreeMap::from([("a key", KEY.to_owned())]);
    let url = "https://example.test/?key=canary%2Fkey%2Bwith%3Dsigns%2632%20chars%21%3F";
    let basic = format!("Basic {}", base64(KEY.as_bytes()));
    for text in [KEY, url, &basic] {
        let mut seen = Seen(Vec::new());
        seen.text("here", text);
        ensure!(seen.holds_none_of(&secrets).is_err(), "not found in {text}");
    }
    ensure!(
        base64(b"hello") == "aGVsbG8=" && base64(b"hell") == "aGVsbA==",
        "base64"
    );
    Ok(())
}
