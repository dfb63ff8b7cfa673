//! `examples/pull-request`: its scripts as a runner runs them, against a double of the comments that a pull request has.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::environment::{JM, World, file, jm, said};

const MARK: &str = "<!-- jm dry run -->";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What a comment may hold.
const MOST: usize = 65_536;

/// The script of a step of the workflow, by the step's name.
fn script(step: &str) -> Result<String> {
    let workflow = std::fs::read_to_string(file("examples/pull-request/.github/workflows/jm.yaml"))?;
    let (_, after) = workflow
        .split_once(&format!("- name: {step}\n"))
        .with_context(|| format!("no step `{step}`"))?;
    let (_, script) = after.split_once("run: |\n").context("a script")?;
    let lines = script
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("          "));
    Ok(lines
        .map(|line| line.get(10..).unwrap_or_default().to_owned() + "\n")
        .collect())
}

/// The comments of pull request 7 of `org/plans`, as the API gives and takes them.
#[derive(Clone, Default)]
struct Comments(Arc<Mutex<Vec<Value>>>);

impl Comments {
    /// Serves them until the test is over, and gives the address.
    fn serve(&self) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let comments = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A request that cannot be read gets no answer, and the script says so.
                drop(comments.answer(stream));
            }
        });
        Ok(address)
    }

    fn answer(&self, stream: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut request = String::new();
        reader.read_line(&mut request)?;
        let (mut length, mut trusted) = (0, false);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim().split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse()?,
                "authorization" => trusted = value == "Bearer a-token",
                // curl asks before it sends much.
                "expect" => (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (status, answer) = if trusted {
            self.act(&request, &body)
        } else {
            (401, json!({ "message": "Bad credentials" }))
        };
        let answer = answer.to_string();
        write!(
            &stream,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        )?;
        Ok(())
    }

    fn act(&self, request: &str, body: &[u8]) -> (u16, Value) {
        let mut comments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let given = || {
            serde_json::from_slice::<Value>(body).ok()?["body"]
                .as_str()
                .map(str::to_owned)
        };
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let text = given().filter(|text| text.chars().count() <= MOST);
        match (method, path.strip_prefix("/repos/org/plans/issues/"), text) {
            ("GET", Some("7/comments"), _) => {
                let page: usize = query
                    .rsplit_once("page=")
                    .and_then(|(_, page)| page.parse().ok())
                    .unwrap_or(1);
                let of_page = comments.iter().skip((page - 1) * 100).take(100).cloned();
                (200, of_page.collect())
            }
            ("POST" | "PATCH", Some(_), None) => (
                422,
                json!({ "message": "Body is too long (maximum is 65536 characters)" }),
            ),
            ("POST", Some("7/comments"), Some(text)) => {
                let comment = json!({ "id": 1000 + comments.len(), "body": text });
                comments.push(comment.clone());
                (201, comment)
            }
            ("PATCH", Some(path), Some(text)) => {
                let id = path.strip_prefix("comments/").and_then(|id| id.parse::<u64>().ok());
                match comments.iter_mut().find(|comment| comment["id"].as_u64() == id) {
                    Some(comment) => {
                        comment["body"] = text.into();
                        (200, comment.clone())
                    }
                    None => (404, json!({ "message": "Not Found" })),
                }
            }
            _ => (404, json!({ "message": "Not Found" })),
        }
    }

    /// The comments that are jm's.
    fn ours(&self) -> Vec<String> {
        let comments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bodies = comments.iter().filter_map(|comment| comment["body"].as_str());
        bodies
            .filter(|body| body.starts_with(MARK))
            .map(str::to_owned)
            .collect()
    }

    fn others(&self, count: usize) {
        let mut comments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        comments.extend((0..count).map(|id| json!({ "id": id, "body": format!("comment {id} about {MARK}") })));
    }
}

/// Runs a script as a runner does.
fn run(script: &str, folder: &Path, api: &str) -> Result<Output> {
    run_with(script, folder, api, &BTreeMap::new())
}

/// The same with secrets and variables of the repository.
fn run_with(script: &str, folder: &Path, api: &str, more: &BTreeMap<String, String>) -> Result<Output> {
    let mut bash = Command::new("bash");
    let path = std::env::var("PATH")?;
    let bin = Path::new(JM).parent().context("a folder")?.display();
    let output = bash
        .args(["-e", "-c", script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{bin}:{path}"))
        .env("HOME", folder)
        .env("JM_STATE", folder.join("state"))
        .envs([
            ("GITHUB_API_URL", api),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "org/plans"),
            ("GITHUB_RUN_ID", "4711"),
            ("GITHUB_BASE_REF", "main"),
            ("GITHUB_STEP_SUMMARY", "summary.md"),
            ("GH_TOKEN", "a-token"),
            ("NUMBER", "7"),
            ("COMMIT", COMMIT),
            ("VALID", "success"),
            ("KUBECONFIG", "kubeconfig"),
            ("KUBECONFIG_TEXT", ""),
        ])
        .envs(more)
        .output()?;
    Ok(output)
}

fn good(script: &str, folder: &Path, api: &str) -> Result<()> {
    let output = run(script, folder, api)?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(())
}

#[test]
fn one_comment_is_made_and_then_updated() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let comments = Comments::default();
    // It is on the third page, after what others said.
    comments.others(250);
    let api = comments.serve()?;
    let script = script("Comment")?;
    for text in ["the first", "the \"second\" \\ ü"] {
        std::fs::write(folder.path().join("comment.md"), format!("{MARK}\n\n{text}\n"))?;
        good(&script, folder.path(), &api)?;
        ensure!(
            comments.ours() == [format!("{MARK}\n\n{text}\n")],
            "{:?}",
            comments.ours()
        );
    }
    let refused = run(&script.replace("$GH_TOKEN", "another"), folder.path(), &api)?;
    ensure!(
        !refused.status.success() && said(&refused).contains("401"),
        "{}",
        said(&refused)
    );
    Ok(())
}

#[test]
fn what_is_too_long_for_a_comment_is_cut_and_says_where_the_whole_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let comments = Comments::default();
    let api = comments.serve()?;
    let script = script("Comment")?;
    // A graph with blank lines in it lies across the limit; characters count, not bytes.
    let graph = format!("```mermaid\n{}\n```", "ä --> ö\n\n".repeat(2000));
    let whole = format!(
        "{MARK}\n\n{}\n\n{graph}\n\nthe end\n",
        "a paragraph, ü\n\n".repeat(3500)
    );
    std::fs::write(folder.path().join("comment.md"), &whole)?;
    good(&script, folder.path(), &api)?;
    let ours = comments.ours();
    let [cut] = ours.as_slice() else {
        anyhow::bail!("{} comments", ours.len())
    };
    ensure!(cut.chars().count() <= MOST, "{} characters", cut.chars().count());
    let (kept, note) = cut.split_once("**Cut here:**").context("a note")?;
    ensure!(
        whole.starts_with(kept) && kept.trim_end().ends_with('ü'),
        "cut within something"
    );
    ensure!(
        kept.chars().count() > 50_000 && !kept.contains("```"),
        "{} characters",
        kept.chars().count()
    );
    ensure!(
        note.contains("https://github.com/org/plans/actions/runs/4711"),
        "{note}"
    );
    Ok(())
}

/// A clone with plans, of which some changes are in a pull request.
struct Clone {
    folder: tempfile::TempDir,
    comments: Comments,
    api: String,
}

impl Clone {
    /// With nothing in it yet but its folder of plans.
    fn empty() -> Result<Self> {
        let comments = Comments::default();
        let clone = Self {
            folder: tempfile::tempdir()?,
            api: comments.serve()?,
            comments,
        };
        std::fs::create_dir(clone.folder.path().join("plans"))?;
        Ok(clone)
    }

    /// With the plans `same` and `changed`, their targets, and a targets file that no plan uses by itself.
    fn new() -> Result<Self> {
        let clone = Self::empty()?;
        clone.plan("same", "one")?;
        clone.plan("changed", "one")?;
        clone.targets("targets", "one")?;
        clone.targets("standby", "one")?;
        clone.is_base()?;
        Ok(clone)
    }

    /// As it is now it is what the pull request is compared with.
    fn is_base(&self) -> Result<()> {
        self.git("init --quiet --initial-branch main .")?;
        self.commit("one")?;
        self.git("update-ref refs/remotes/origin/main HEAD")
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.folder.path().join("plans").join(name), text)?)
    }

    fn plan(&self, name: &str, message: &str) -> Result<()> {
        let text = format!(
            "apiVersion: jm/v1\nname: {name}\nsteps:\n  - {{ id: hold, uses: check.assert, with: {{ that: true, message: {message} }} }}\n"
        );
        self.write(&format!("{name}.yaml"), &text)
    }

    fn targets(&self, name: &str, comment: &str) -> Result<()> {
        let text = format!("apiVersion: jm/v1\nkind: Targets\nname: production # {comment}\ntargets: {{}}\n");
        self.write(&format!("{name}.yaml"), &text)
    }

    fn git(&self, words: &str) -> Result<()> {
        let git = format!("git -c user.name=ada -c user.email=ada@example.com {words}");
        good(&git, self.folder.path(), &self.api)
    }

    fn commit(&self, message: &str) -> Result<()> {
        self.git("add --all plans")?;
        self.git(&format!("commit --quiet --message {message}"))
    }

    /// The comment that the workflow makes where nothing would fail.
    fn comment(&self) -> Result<String> {
        self.comment_of_job(true, &BTreeMap::new())
    }

    /// The comment that the workflow makes, which is all of its summary, too. It is made whether the job goes well or not.
    fn comment_of_job(&self, goes_well: bool, more: &BTreeMap<String, String>) -> Result<String> {
        let script_of_job = script("What the changed plans would do")?;
        let output = run_with(&script_of_job, self.folder.path(), &self.api, more)?;
        ensure!(output.status.success() == goes_well, "{}", said(&output));
        good(&script("Comment")?, self.folder.path(), &self.api)?;
        let mut ours = self.comments.ours();
        ensure!(ours.len() == 1, "{ours:?}");
        let comment = std::fs::read_to_string(self.folder.path().join("comment.md"))?;
        ensure!(std::fs::read_to_string(self.folder.path().join("summary.md"))?.ends_with(&comment));
        let ours = ours.remove(0);
        ensure!(ours == comment || ours.contains("**Cut here:**"), "{ours}");
        Ok(comment)
    }
}

#[test]
fn the_dry_runs_of_changed_plans_become_the_comment() -> Result<()> {
    let clone = Clone::new()?;
    clone.plan("changed", "two")?;
    clone.commit("two")?;
    let comment = clone.comment()?;
    ensure!(
        comment.contains("## `changed`") && !comment.contains("`same`"),
        "{comment}"
    );
    Ok(())
}

/// A comment tells of which commit it is, and what was shown of an earlier one is not left standing.
#[test]
fn plans_that_are_not_valid_take_the_place_of_the_dry_run_before() -> Result<()> {
    let clone = Clone::new()?;
    clone.plan("changed", "two")?;
    clone.commit("two")?;
    clone.comment()?;
    let newer = "f".repeat(40);
    let more = [("COMMIT", newer.as_str()), ("VALID", "failure")];
    let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let comment = clone.comment_of_job(false, &BTreeMap::from(more))?;
    let head = format!("{MARK}\n\nCommit `{newer}`.\n\nNo dry run, for the validation did not succeed");
    ensure!(
        comment.starts_with(&head) && !comment.contains("## `changed`"),
        "{comment}"
    );
    Ok(())
}

#[test]
fn targets_that_changed_show_every_plan_that_runs_with_them() -> Result<()> {
    let clone = Clone::new()?;
    clone.targets("targets", "two")?;
    clone.commit("two")?;
    let comment = clone.comment()?;
    for plan in ["changed", "same"] {
        let shown = comment.matches(&format!("## `{plan}`")).count();
        ensure!(shown == 1, "`{plan}` is shown {shown} times: {comment}");
    }
    Ok(())
}

#[test]
fn a_plan_that_needs_inputs_is_named_and_one_that_would_fail_comes_first() -> Result<()> {
    let clone = Clone::new()?;
    let step =
        "steps:\n  - { id: hold, uses: check.assert, with: { that: true, message: \"${{ inputs.commit }}\" } }\n";
    let asks = format!("apiVersion: jm/v1\nname: asks\ninputs: {{ commit: {{ type: string }} }}\n{step}");
    clone.write("asks.yaml", &asks)?;
    clone.commit("two")?;
    let comment = clone.comment()?;
    for words in ["`plans/asks.yaml`", "needs inputs", "--dry-run -i commit=…`"] {
        ensure!(comment.contains(words), "no `{words}` in {comment}");
    }
    // Beside one of the other ending, which would fail.
    let fails = "apiVersion: jm/v1\nname: fails\nsteps:\n  - { id: hold, uses: check.assert, with: { that: false, message: no } }\n";
    clone.write("fails.yml", fails)?;
    clone.targets("targets", "two")?;
    clone.commit("three")?;
    let comment = clone.comment_of_job(false, &BTreeMap::new())?;
    let first = "- **would fail today:** `plans/fails.yml` (exit code 4)\n";
    let head = format!("{MARK}\n\nCommit `{COMMIT}`.\n\n{first}\n");
    ensure!(comment.starts_with(&head), "{comment}");
    for words in ["## `fails`", "WOULD FAIL", "## `same`", "-i commit=…"] {
        ensure!(comment.contains(words), "no `{words}` in {comment}");
    }
    Ok(())
}

/// The plans that ship, of which somebody changes a line of the targets.
#[test]
fn the_plans_that_ship_are_all_in_the_comment() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let clone = Clone::empty()?;
    for entry in std::fs::read_dir(file("plans"))?.collect::<Result<Vec<_>, _>>()? {
        clone.write(
            &entry.file_name().to_string_lossy(),
            &std::fs::read_to_string(entry.path())?,
        )?;
    }
    let names: Vec<String> = std::fs::read_dir(file("plans"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .filter(|name| name != "targets")
        .collect();
    ensure!(names.len() > 5, "{names:?}");
    clone.is_base()?;
    let targets = std::fs::read_to_string(file("plans/targets.yaml"))?;
    clone.write("targets.yaml", &targets.replace("default(30)", "default(31)"))?;
    clone.commit("two")?;
    let mut variables = world.systems.environment.clone();
    let kubeconfig = std::fs::read_to_string(world.systems.variable("KUBECONFIG"))?;
    variables.insert("KUBECONFIG_TEXT".to_owned(), kubeconfig);
    variables.insert("KUBECONFIG".to_owned(), "kubeconfig".to_owned());

    // No export was made, and nobody told of a second region.
    let comment = clone.comment_of_job(false, &variables)?;
    let would_fail = |comment: &str, name: &str| {
        comment
            .lines()
            .any(|line| line.starts_with("- **would fail today:**") && line.contains(&format!("/{name}.yaml`")))
    };
    for name in &names {
        let shown = comment.contains(&format!("## `{name}`")) || comment.contains(&format!("## `plans/{name}.yaml`"));
        ensure!(shown, "`{name}` is not shown: {comment}");
    }
    for name in ["cluster-failure", "data-center-failover"] {
        ensure!(would_fail(&comment, name), "`{name}` would fail: {comment}");
    }
    for name in ["complete-db-loss", "backup-database", "restore-from-git"] {
        ensure!(!would_fail(&comment, name), "`{name}` would not fail: {comment}");
    }
    for words in ["STANDBY_DATABASE_URL", "--dry-run -i commit=…`"] {
        ensure!(comment.contains(words), "no `{words}` in {comment}");
    }
    Ok(())
}

#[test]
fn a_comment_is_never_empty() -> Result<()> {
    let clone = Clone::new()?;
    clone.targets("standby", "two")?;
    clone.commit("two")?;
    let comment = clone.comment()?;
    ensure!(
        comment.contains("`plans/standby.yaml` changed") && !comment.contains("## "),
        "{comment}"
    );
    let clone = Clone::new()?;
    clone.git("rm --quiet plans/changed.yaml")?;
    clone.commit("two")?;
    let comment = clone.comment()?;
    ensure!(comment.contains("No plan that is there now"), "{comment}");
    Ok(())
}

#[test]
fn findings_are_annotations_at_their_lines() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let plans = folder.path().join("plans");
    std::fs::create_dir(&plans)?;
    let text = "apiVersion: jm/v1\nname: wrong\nsteps:\n  - id: a\n    uses: check.asert\n    with: { that: true, message: no }\n";
    std::fs::write(plans.join("wrong.yaml"), text)?;
    let output = jm(folder.path())
        .current_dir(folder.path())
        .args(["plan", "validate", "plans", "--format", "github"])
        .output()?;
    ensure!(output.status.code() == Some(3), "{}", said(&output));
    let out = String::from_utf8(output.stdout)?;
    let line = out
        .lines()
        .find(|line| line.starts_with("::error "))
        .context("an annotation")?;
    for part in ["file=plans/wrong.yaml", "line=5", "check.asert", "check.assert"] {
        ensure!(line.contains(part), "no `{part}` in {line}");
    }
    Ok(())
}
