//! A plan in an editor: what yaml-language-server, which editors ask, offers and finds by the schemas.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::environment::file;

/// Where the cursor stands in a text; the text is sent without it.
const CURSOR: char = '¦';

/// A running language server, spoken to as an editor does.
struct Editor {
    server: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    asked: u64,
}

impl Editor {
    fn open() -> Result<Self> {
        let program = std::env::var("JM_TEST_YAML_LANGUAGE_SERVER")
            .context("JM_TEST_YAML_LANGUAGE_SERVER is not set: run the tests by `tests/run`")?;
        // A server that does not answer is ended, and its silence becomes an error.
        let mut server = Command::new("timeout")
            .args(["120", "node", &program, "--stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let to = server.stdin.take().context("a way in")?;
        let from = BufReader::new(server.stdout.take().context("a way out")?);
        let asked = 0;
        let mut editor = Self {
            server,
            to,
            from,
            asked,
        };
        editor.ask(
            "initialize",
            &json!({ "processId": std::process::id(), "rootUri": uri(&file("")),
                "capabilities": { "workspace": { "configuration": true } } }),
        )?;
        editor.send(&json!({ "method": "initialized", "params": {} }))?;
        Ok(editor)
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        let mut message = message.clone();
        message["jsonrpc"] = json!("2.0");
        let body = message.to_string();
        write!(self.to, "Content-Length: {}\r\n\r\n{body}", body.len())?;
        Ok(self.to.flush()?)
    }

    fn receive(&mut self) -> Result<Value> {
        let mut length = None;
        loop {
            let mut line = String::new();
            ensure!(self.from.read_line(&mut line)? > 0, "the language server is gone");
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = Some(value.parse()?),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length.context("a message without a length")?];
        self.from.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// The next message that is not a question to the editor: those are answered with what an editor has by default.
    fn next(&mut self) -> Result<Value> {
        loop {
            let message = self.receive()?;
            if message["method"].is_null() || message["id"].is_null() {
                return Ok(message);
            }
            let wanted = message["params"]["items"].as_array().map_or(0, Vec::len);
            let settings = vec![json!({}); wanted];
            self.send(&json!({ "id": message["id"], "result": settings }))?;
        }
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.asked += 1;
        let id = json!(self.asked);
        self.send(&json!({ "id": id, "method": method, "params": params }))?;
        loop {
            let message = self.next()?;
            if message["id"] == id {
                ensure!(message["error"].is_null(), "{method}: {}", message["error"]);
                return Ok(message["result"].clone());
            }
        }
    }

    /// Opens a text under a name, and gives what the server finds wrong with it.
    fn problems(&mut self, path: &Path, text: &str) -> Result<Vec<String>> {
        let document = json!({ "uri": uri(path), "languageId": "yaml", "version": 1, "text": text });
        self.send(&json!({ "method": "textDocument/didOpen", "params": { "textDocument": document } }))?;
        loop {
            let message = self.next()?;
            let params = &message["params"];
            if message["method"] == "textDocument/publishDiagnostics" && params["uri"] == uri(path).as_str() {
                let found = params["diagnostics"].as_array().context("diagnostics")?;
                return Ok(found.iter().map(|one| one["message"].to_string()).collect());
            }
        }
    }

    /// What it offers where the cursor stands.
    fn offers(&mut self, text: &str) -> Result<Vec<String>> {
        let place = text.find(CURSOR).context("a cursor")?;
        let before = &text[..place];
        let line = before.matches('\n').count();
        let character = before.lines().last().map_or(0, str::len);
        // A name of its own each time: nothing is remembered of the text before.
        let path = file(&format!("plans/unsaved-{}.yaml", self.asked));
        self.problems(&path, &text.replace(CURSOR, ""))?;
        let place =
            json!({ "textDocument": { "uri": uri(&path) }, "position": { "line": line, "character": character } });
        let offered = self.ask("textDocument/completion", &place)?;
        let items = offered["items"].as_array().context("items")?;
        let labels = items.iter().filter_map(|item| item["label"].as_str());
        Ok(labels.map(str::to_owned).collect())
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// A plan whose only step is this.
fn plan(step: &str) -> String {
    let head =
        "# yaml-language-server: $schema=../schemas/plan.schema.json\napiVersion: jm/v1\nname: unsaved\nsteps:\n";
    format!("{head}  - id: one\n{step}")
}

#[test]
fn an_editor_completes_step_types_inputs_and_enums() -> Result<()> {
    let mut editor = Editor::open()?;
    let cases: [(&str, &[&str]); 4] = [
        (
            "    uses: ¦\n",
            &["backup.restore", "command.run", "kubernetes.quiesce", "postgres.switch"],
        ),
        (
            "    uses: backup.create\n    ¦\n",
            &["with", "needs", "retry", "timeout", "if"],
        ),
        (
            "    uses: backup.create\n    with:\n      ¦\n",
            &["database", "format", "verify"],
        ),
        (
            "    uses: backup.create\n    with:\n      format: ¦\n",
            &["custom", "plain"],
        ),
    ];
    for (step, expected) in cases {
        let offered = editor.offers(&plan(step))?;
        for one in expected {
            ensure!(
                offered.iter().any(|label| label == one),
                "`{one}` is not offered at {step:?}: {offered:?}"
            );
        }
    }
    let target = "# yaml-language-server: $schema=../schemas/targets.schema.json\napiVersion: jm/v1\nkind: Targets\n\
        name: unsaved\ntargets:\n  one:\n    provider: ";
    for (written, expected) in [
        ("¦\n", "postgres"),
        ("postgres\n    ¦\n", "url"),
        ("s3\n    ¦\n", "bucket"),
    ] {
        let offered = editor.offers(&format!("{target}{written}"))?;
        ensure!(
            offered.iter().any(|label| label == expected),
            "`{expected}` is not offered at {written:?}: {offered:?}"
        );
    }
    // Another step type has other inputs.
    let offered = editor.offers(&plan("    uses: command.run\n    with:\n      ¦\n"))?;
    ensure!(
        offered.iter().any(|label| label == "argv") && !offered.iter().any(|label| label == "format"),
        "{offered:?}"
    );
    Ok(())
}

#[test]
fn an_editor_finds_nothing_wrong_in_what_is_shipped_and_something_in_what_is_wrong() -> Result<()> {
    let mut editor = Editor::open()?;
    let mut opened = 0;
    for folder in ["plans", "examples"] {
        for entry in std::fs::read_dir(file(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "yaml") {
                let text = std::fs::read_to_string(&path)?;
                let problems = editor.problems(&path, &text)?;
                ensure!(problems.is_empty(), "{}: {problems:?}", path.display());
                opened += 1;
            }
        }
    }
    ensure!(opened >= 8, "only {opened} files");
    for wrong in [
        "    uses: backup.creat\n",
        "    uses: backup.create\n    with: { format: zip }\n",
        "    uses: backup.create\n    wiht: {}\n",
    ] {
        let path = file(&format!("plans/wrong-{}.yaml", wrong.len()));
        let problems = editor.problems(&path, &plan(wrong))?;
        ensure!(!problems.is_empty(), "nothing is wrong with {wrong:?}");
    }
    Ok(())
}
