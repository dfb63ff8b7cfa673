//! What is wrong with the variables of a targets file is told before anything is opened.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::environment::{file, folder, jm, said};

/// Sound variables, of servers that are not there: whatever is told about the others was told without asking one.
const SOUND: [(&str, &str); 4] = [
    ("DATABASE_URL", "postgresql://jm@127.0.0.1:1/journeyman_prod"),
    ("ENCRYPTION_KEY", "correct horse battery staple"),
    ("BACKUP_DIR", "/nowhere/backups"),
    ("KUBECONFIG", "/nowhere/kubeconfig"),
];

/// Ends the run of a recovery, or its dry run, with these variables on top of the sound ones.
fn recover(state: &TempDir, variables: &[(&str, &str)], words: &[&str]) -> Result<Output> {
    let mut command = jm(state.path());
    command.args(["plan", "run", "plans/complete-db-loss.yaml", "--confirm", "production"]);
    Ok(command
        .args(words)
        .envs(SOUND)
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
