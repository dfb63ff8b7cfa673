//! What is wrong with the variables of a targets file is told before anything is opened.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::environment::{file, folder, jm, said};

/// Sound variables, of servers that are not there: whatever is told about the others was told without asking one.
const SOUND: [(&str, &str); 3] = [
    ("DATABASE_URL", "postgresql://jm@127.0.0.1:1/journeyman_prod"),
    ("ENCRYPTION_KEY", "correct horse battery staple"),
    ("BACKUP_DIR", "/nowhere/backups"),
];

/// Ends the run of a recovery, or its dry run, with these variables on top of the sound ones.
fn recover(state: &TempDir, variables: &[(&str, &str)], words: &[&str]) -> Result<Output> {
    let mut command = jm(state.path());
    command.args(["plan", "run", "plans/complete-db-loss.yaml", "--confirm", "production"]);
    let kubeconfig = state.path().join("kubeconfig");
    std::fs::write(&kubeconfig, "apiVersion: v1\nkind: Config\n")?;
    Ok(command
        .args(words)
        .envs(SOUND)
        .env("KUBECONFIG", kubeconfig)
        .envs(variables.iter().copied())
        .output()?)
}

/// Every error at its line of the targets file, with the variable and what a right value looks like; no run was made.
fn is_told(output: &Output, state: &TempDir, words: &[&str]) -> Result<()> {
    ensure!(output.status.code() == Some(3), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // Long lines are broken at the edge of the terminal.
    let flat: String = text
        .split_whitespace()
        .filter(|word| *word != "│")
        .collect::<Vec<_>>()
        .join(" ");
    for word in words {
        ensure!(flat.contains(word), "`{word}` is not said:\n{text}");
    }
    ensure!(
        !state.path().join("runs").exists(),
        "a run was made before its targets were sound"
    );
    Ok(())
}

/// Where the targets file that ships first has these words, as findings name it.
fn line_of(words: &str) -> Result<String> {
    let text = std::fs::read_to_string(file("plans/targets.yaml"))?;
    let line = text.lines().position(|line| line.contains(words)).context("a line")?;
    Ok(format!("plans/targets.yaml:{}", line + 1))
}

#[test]
fn malformed_variables_are_told_at_once_before_anything_is_opened() -> Result<()> {
    let malformed = [
        ("DATABASE_URL", "foo"),
        ("WEBHOOK_URL", "ftp://x"),
        ("AWS_ENABLED", "true"),
        ("RETENTION_DAYS", "0"),
    ];
    let expected = [
        "`DATABASE_URL`: the connection string cannot be read",
        "postgresql://user@host:5432/database",
        "`WEBHOOK_URL`: the webhook's address makes no sense",
        "https://host/path",
        "`RETENTION_DAYS`:",
        &line_of("env.DATABASE_URL")?,
        &line_of("env.WEBHOOK_URL")?,
    ];
    for words in [&[][..], &["--dry-run"]] {
        let state = folder()?;
        is_told(&recover(&state, &malformed, words)?, &state, &expected)?;
        let bucket = [("AWS_ENABLED", "true")];
        let expected = [
            "`BACKUP_S3_BUCKET`, which is not set: S3 is enabled",
            "BACKUP_S3_BUCKET to the bucket's name",
            &line_of("env.BACKUP_S3_BUCKET")?,
        ];
        is_told(&recover(&state, &bucket, words)?, &state, &expected)?;
    }
    Ok(())
}

#[test]
fn a_file_that_holds_a_malformed_value_is_named() -> Result<()> {
    let state = folder()?;
    let file = state.path().join("url");
    std::fs::write(&file, "mysql://jm:hunter22@db/app\n")?;
    let mut command = jm(state.path());
    command.args(["plan", "run", "plans/backup-database.yaml", "--dry-run"]);
    let others = SOUND.into_iter().filter(|(name, _)| *name != "DATABASE_URL");
    let output = command.envs(others).env("DATABASE_URL_FILE", &file).output()?;
    let place = file.to_str().context("text")?;
    is_told(
        &output,
        &state,
        &["DATABASE_URL_FILE", place, "its scheme is not `postgresql://`"],
    )?;
    ensure!(!said(&output).contains("hunter22"), "{}", said(&output));
    Ok(())
}

#[test]
fn variables_of_the_systems_own_conventions_are_looked_at_too() -> Result<()> {
    let state = folder()?;
    for (variable, value, word) in [
        ("PGSSLMODE", "alway", "`sslmode`"),
        ("AWS_ENDPOINT_URL", "minio:9000", "AWS_ENDPOINT_URL"),
    ] {
        let variables = [(variable, value), ("AWS_ENABLED", "true"), ("BACKUP_S3_BUCKET", "b")];
        is_told(&recover(&state, &variables, &[])?, &state, &[word])?;
    }
    Ok(())
}

#[test]
fn files_that_are_not_there_are_told_at_once_before_anything_is_opened() -> Result<()> {
    let state = folder()?;
    let bundle = state.path().display().to_string();
    let missing = [
        (
            "DATABASE_URL",
            "postgresql://jm@127.0.0.1:1/journeyman_prod?sslmode=verify-full",
        ),
        ("PGSSLROOTCERT", "/nowhere/ca.pem"),
        ("KUBECONFIG", "/nowhere/one:/nowhere/two"),
        ("AWS_ENABLED", "true"),
        ("BACKUP_S3_BUCKET", "bucket"),
        ("AWS_CA_BUNDLE", &bundle),
    ];
    let expected = [
        "the file of certificates that `PGSSLROOTCERT` names cannot be read: /nowhere/ca.pem:",
        "the kubeconfig that `KUBECONFIG` names cannot be read: /nowhere/one:",
        &format!("the file of certificates that `AWS_CA_BUNDLE` names cannot be read: {bundle}: is a directory"),
        &line_of("  database:")?,
        &line_of("  cluster:")?,
        &line_of("  backups:")?,
    ];
    let in_the_url = [(
        "DATABASE_URL",
        "postgresql://jm:hunter22@127.0.0.1:1/app?sslmode=verify-ca&sslrootcert=/nowhere/url.pem",
    )];
    for words in [&[][..], &["--dry-run"]] {
        is_told(&recover(&state, &missing, words)?, &state, &expected)?;
        let output = recover(&state, &in_the_url, words)?;
        let expected = [
            "`DATABASE_URL`: the file of certificates cannot be read: /nowhere/url.pem:",
            &line_of("env.DATABASE_URL")?,
        ];
        is_told(&output, &state, &expected)?;
        ensure!(!said(&output).contains("hunter22"), "{}", said(&output));
    }
    Ok(())
}

#[test]
fn a_kubeconfig_that_the_plan_brings_may_be_missing() -> Result<()> {
    let state = folder()?;
    let write = |name: &str, text: &str| std::fs::write(state.path().join(name), text);
    write(
        "targets.yaml",
        "apiVersion: jm/v1\nkind: Targets\nname: test\ntargets:\n  cluster:\n    provider: kubernetes\n    namespace: app\n    kubeconfig: '${{ env.WRITTEN_LATER }}'\n",
    )?;
    let steps = "steps: [{ id: ready, uses: kubernetes.ready }]\n";
    write(
        "brought.yaml",
        &format!("apiVersion: jm/v1\nname: brought\nrepairs: [cluster]\n{steps}"),
    )?;
    write("used.yaml", &format!("apiVersion: jm/v1\nname: used\n{steps}"))?;
    let dry = |plan: &str| {
        let mut command = jm(state.path());
        command
            .current_dir(state.path())
            .env("WRITTEN_LATER", "/nowhere/kubeconfig");
        command.args(["plan", "run", plan, "--dry-run"]).output()
    };
    let words = [
        "`WRITTEN_LATER`: the kubeconfig cannot be read: /nowhere/kubeconfig:",
        "targets.yaml:8",
    ];
    is_told(&dry("used.yaml")?, &state, &words)?;
    let output = dry("brought.yaml")?;
    ensure!(output.status.code() != Some(3), "{}", said(&output));
    ensure!(said(&output).contains("the plan repairs it"), "{}", said(&output));
    Ok(())
}

#[test]
fn a_target_with_a_limit_is_acted_on_by_so_many_steps_at_once() -> Result<()> {
    let state = folder()?;
    let write = |name: &str, text: String| std::fs::write(state.path().join(name), text);
    let tell = |id: &str| {
        format!(
            "  - {{ id: {id}, uses: notify.webhook, with: {{ status: started, message: hello }}, retry: {{ attempts: 1 }}, on_failure: continue }}\n"
        )
    };
    write(
        "plan.yaml",
        format!("apiVersion: jm/v1\nname: tells\nsteps:\n{}{}", tell("one"), tell("two")),
    )?;
    // Nobody listens there.
    let ran = |limit: &str| -> Result<Output> {
        let targets = format!(
            "apiVersion: jm/v1\nkind: Targets\nname: test\ntargets:\n  webhook: {{ provider: notify, url: 'http://127.0.0.1:1/'{limit} }}\n"
        );
        write("targets.yaml", targets)?;
        let mut command = jm(state.path());
        command.current_dir(state.path());
        Ok(command.args(["plan", "run", "plan.yaml", "--yes"]).output()?)
    };
    let order = || -> Result<Vec<String>> {
        let records = crate::environment::journal(state.path())?;
        let steps = records
            .iter()
            .filter_map(|record| Some(format!("{} {}", record["kind"].as_str()?, record["step"].as_str()?)));
        Ok(steps
            .filter(|line| line.starts_with("step-started") || line.starts_with("step-failed"))
            .collect())
    };
    let output = ran(", max_parallel: 1")?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    let one_by_one = [
        "step-started one",
        "step-failed one",
        "step-started two",
        "step-failed two",
    ];
    ensure!(order()? == one_by_one, "{:?}", order()?);
    let output = ran("")?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    ensure!(
        order()?[..2] == ["step-started one", "step-started two"],
        "{:?}",
        order()?
    );
    let output = ran(", max_parallel: 0")?;
    ensure!(output.status.code() == Some(3), "{}", said(&output));
    Ok(())
}
