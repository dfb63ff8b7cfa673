//! An archive's table of contents without what cannot be restored here.

use std::io::Write;

use jm_step::StepError;
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt;

use crate::flow::{Failure, Flow};
use crate::tools::{Tool, Toolbox, tail, write};

/// As much of an archive as is looked at for its table of contents.
const TABLE: usize = 4 << 20;

/// A list for `pg_restore --use-list` that leaves these extensions out, with the schema and the rows of each that has its
/// own; `None` where nothing is to be left out. Holds names of objects, and no data.
pub(super) async fn without(
    dump: &mut Flow,
    extensions: &[String],
    tool: &Tool,
    tools: &Toolbox,
) -> Result<Option<NamedTempFile>, Failure> {
    if extensions.is_empty() {
        return Ok(None);
    }
    let start = dump.peek(TABLE).await?;
    let table = table(&start, tool, tools).await?;
    let kept: String = table
        .lines()
        .filter(|line| !extensions.iter().any(|name| is_of(line, name)))
        .fold(String::new(), |mut kept, line| {
            kept.push_str(line);
            kept.push('\n');
            kept
        });
    let file = NamedTempFile::new().and_then(|mut file| file.write_all(kept.as_bytes()).map(|()| file));
    file.map(Some).map_err(|error| {
        StepError::failed("a list for `pg_restore` cannot be written to the temporary folder")
            .source(error)
            .into()
    })
}

async fn table(start: &[u8], tool: &Tool, tools: &Toolbox) -> Result<String, StepError> {
    let mut child = tools.spawn(tool, &["--list".to_owned()], None, true)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (Some(mut stdin), Some(mut stdout)) = (stdin, stdout) else {
        return Err(StepError::failed("`pg_restore` has no pipes"));
    };
    let stderr = child.stderr.take();
    let mut table = String::new();
    let ((), read, said) = tokio::join!(
        async {
            // It stops reading where the table ends.
            write(&mut stdin, start).await;
            drop(stdin);
        },
        stdout.read_to_string(&mut table),
        tail(stderr)
    );
    let status = child.wait().await?;
    match read {
        Ok(_) if status.success() => Ok(table),
        _ => Err(StepError::failed(format!(
            "the archive's table of contents cannot be read: {said}"
        ))),
    }
}

/// `217; 1259 16403 TABLE DATA cron job postgres`: the schema of `pg_cron` is `cron`.
fn is_of(line: &str, extension: &str) -> bool {
    let schema = extension.strip_prefix("pg_").unwrap_or(extension);
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |kind: &[&str], name: &str| {
        words
            .windows(kind.len() + 1)
            .any(|window| window[..kind.len()] == *kind && window[kind.len()] == name)
    };
    after(&["EXTENSION", "-"], extension)
        || after(&["COMMENT", "-", "EXTENSION"], extension)
        || after(&["SCHEMA", "-"], schema)
        || ["DATA", "SET", "POLICY", "ACL"]
            .iter()
            .any(|kind| after(&[kind], schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_goes_with_all_that_is_its_own() {
        for line in [
            "2; 3079 16401 EXTENSION - pg_cron ",
            "3450; 0 0 COMMENT - EXTENSION pg_cron ",
            "3400; 0 16403 TABLE DATA cron job postgres",
            "3460; 0 0 SEQUENCE SET cron jobid_seq postgres",
            "3300; 3256 16433 POLICY cron job cron_job_policy postgres",
        ] {
            assert!(is_of(line, "pg_cron"), "{line}");
        }
        for line in [
            ";     dbname: cron",
            "217; 1259 16403 TABLE public cron postgres",
            "3401; 0 16403 TABLE DATA public job postgres",
            "3; 3079 16402 EXTENSION - pgcrypto ",
        ] {
            assert!(!is_of(line, "pg_cron"), "{line}");
        }
    }
}
