//! The plans that keep what lies in no database and in no cluster: configuration and code.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::environment::{folder, has_words, jm, said};

const SECRET: &str = "postgresql://app:hunter2hunter2@db/journeyman_prod";
const IMAGE: &str = "ghcr.io/shop/app@sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A machine with configuration, a clone, and a place for backups.
struct Machine(TempDir);

impl Machine {
    fn new() -> Result<Self> {
        let machine = Self(folder()?);
        std::fs::create_dir_all(machine.0.path().join("etc"))?;
        std::fs::write(machine.0.path().join("etc/app.env"), "TOKEN=a-secret-token\n")?;
        machine.shell(
            "git init --quiet --bare -b main remote.git && git clone --quiet remote.git clone 2>/dev/null && cd clone &&
            git -c user.name=Test -c user.email=test@example.com commit --quiet --allow-empty -m first &&
            git tag v1 && git push --quiet origin main v1",
        )?;
        Ok(machine)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn shell(&self, script: &str) -> Result<String> {
        let ended = Command::new("bash")
            .args(["-euc", script])
            .current_dir(self.0.path())
            .output()?;
        ensure!(ended.status.success(), "{script}: {}", said(&ended));
        Ok(String::from_utf8(ended.stdout)?.trim().to_owned())
    }

    fn jm(&self) -> Command {
        let mut command = jm(&self.0.path().join("state"));
        command
            .env("BACKUP_DIR", self.path("backups"))
            .env("ENCRYPTION_KEY", "correct horse battery staple")
            .env("DATABASE_URL", SECRET);
        command
    }

    fn keep(&self, words: &[&str]) -> Result<Output> {
        let paths = format!("paths=[\"{}\"]", self.path("etc"));
        let mut command = self.jm();
        command.args(["plan", "run", "plans/backup-configuration.yaml", "-i", &paths]);
        Ok(command.args(words).output()?)
    }

    fn listed(&self) -> Result<Vec<Value>> {
        let output = self.jm().args(["backup", "list", "--format", "json"]).output()?;
        let document: Value = serde_json::from_slice(&output.stdout).with_context(|| said(&output))?;
        Ok(document["backups"].as_array().context("backups")?.clone())
    }

    /// No file of the runs and of the backups, whatever it is, tells a value.
    fn tells_no_value(&self) -> Result<()> {
        for folder in ["state", "backups"] {
            let found = self.shell(&format!("grep -rlE 'hunter2|a-secret-token' {folder} || true"))?;
            ensure!(found.is_empty(), "values are in {found}");
        }
        Ok(())
    }
}

fn ended(output: &Output, code: i32) -> Result<String> {
    let said = said(output);
    ensure!(output.status.code() == Some(code), "{said}");
    ensure!(!said.contains("hunter2") && !said.contains("a-secret-token"), "{said}");
    Ok(said)
}

#[test]
fn configuration_is_kept_when_it_changes_and_no_value_is_told() -> Result<()> {
    let machine = Machine::new()?;
    let dry = ended(&machine.keep(&["--dry-run"])?, 0)?;
    for words in ["etc/app.env", "$DATABASE_URL", "2 files and folders and 1 variables"] {
        ensure!(has_words(&dry, words), "`{words}` is not said: {dry}");
    }
    ensure!(!Path::new(&machine.path("backups")).exists(), "a dry run keeps nothing");

    ended(&machine.keep(&[])?, 0)?;
    let first = machine.listed()?;
    ensure!(
        first.len() == 1 && first[0]["kind"] == "files" && first[0]["of"] == "configuration",
        "{first:?}"
    );
    let again = ended(&machine.keep(&[])?, 0)?;
    ensure!(has_words(&again, "made: no"), "{again}");
    ensure!(
        machine.listed()?.len() == 1,
        "nothing changed, and another backup was made"
    );

    std::fs::write(machine.path("etc/app.env"), "TOKEN=a-secret-token-2\n")?;
    let changed = ended(&machine.keep(&["-i", "environment=[\"DATABASE_URL\", \"UNSET\"]"])?, 9)?;
    ensure!(has_words(&changed, "`$UNSET` is not in the backup"), "{changed}");
    ensure!(machine.listed()?.len() == 2, "what changed was not kept");
    let name = machine.listed()?[0]["name"].as_str().context("a name")?.to_owned();
    let shown = machine.jm().args(["backup", "show", &name]).output()?;
    let shown = ended(&shown, 0)?;
    ensure!(
        shown.contains("etc/app.env") && shown.contains("DATABASE_URL"),
        "{shown}"
    );
    machine.tells_no_value()?;

    let back = machine.path("back");
    let words = ["plan", "run", "plans/restore-configuration.yaml", "--yes"];
    let restore = || machine.jm().args(words).args(["-i", &format!("into={back}")]).output();
    let restored = ended(&restore()?, 9)?;
    ensure!(has_words(&restored, "`$UNSET` could not be kept"), "{restored}");
    let file = format!(
        "{back}/files{}/app.env",
        std::fs::canonicalize(machine.path("etc"))?.display()
    );
    ensure!(
        std::fs::read_to_string(file)? == "TOKEN=a-secret-token-2\n",
        "other content"
    );
    let script = std::fs::read_to_string(format!("{back}/environment.sh"))?;
    ensure!(script == format!("export DATABASE_URL='{SECRET}'\n"), "other variables");
    let refused = ended(&restore()?, 4)?;
    ensure!(has_words(&refused, "is there already"), "{refused}");
    Ok(())
}

#[test]
fn code_is_kept_with_the_release_that_ran_and_git_clones_from_it() -> Result<()> {
    let machine = Machine::new()?;
    let (clone, image) = (
        format!("repository={}", machine.path("clone")),
        format!("image={IMAGE}"),
    );
    let words = [
        "plan",
        "run",
        "plans/backup-code.yaml",
        "-i",
        "commit=v1",
        "-i",
        &clone,
        "-i",
        &image,
    ];
    ended(&machine.jm().args(words).arg("--dry-run").output()?, 0)?;
    ended(&machine.jm().args(words).output()?, 0)?;
    let again = ended(&machine.jm().args(words).output()?, 0)?;
    ensure!(has_words(&again, "made: no"), "{again}");
    let rows = machine.listed()?;
    ensure!(rows.len() == 1 && rows[0]["kind"] == "code", "{rows:?}");
    let name = rows[0]["name"].as_str().context("a name")?.to_owned();
    let shown = ended(&machine.jm().args(["backup", "show", &name]).output()?, 0)?;
    let commit = machine.shell("git -C clone rev-parse v1")?;
    ensure!(shown.contains(&commit) && shown.contains(IMAGE), "{shown}");

    let bundle = machine.path("code.bundle");
    ended(
        &machine
            .jm()
            .args(["backup", "decrypt", &name, "--to", &bundle])
            .output()?,
        0,
    )?;
    machine.shell("rm -r remote.git clone && git clone --quiet code.bundle clone")?;
    ensure!(
        machine.shell("git -C clone rev-parse HEAD")? == commit,
        "another commit"
    );
    let verified = machine
        .jm()
        .args([
            "step",
            "run",
            "git.verify",
            "-w",
            &format!("repository={bundle}"),
            "-w",
            "commit=v1",
        ])
        .output()?;
    ensure!(has_words(&ended(&verified, 0)?, &commit), "the bundle is no remote");

    // A commit that nobody but this machine has is told, and nothing is kept.
    machine.shell("git -C clone -c user.name=T -c user.email=t@example.com commit --quiet --allow-empty -m mine")?;
    let mine = format!("commit={}", machine.shell("git -C clone rev-parse HEAD")?);
    let words = ["plan", "run", "plans/backup-code.yaml", "-i", &mine, "-i", &clone];
    let refused = ended(&machine.jm().args(words).output()?, 4)?;
    ensure!(has_words(&refused, "was never pushed"), "{refused}");
    ensure!(machine.listed()?.len() == 1, "something was kept");
    Ok(())
}
