//! `~/.pgpass`: passwords by host, port, database and user, read only from a file that nobody else can read.

#![expect(clippy::disallowed_methods, reason = "this is the password file of libpq")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jm_step::Secret;

/// The lines of a password file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passfile(Vec<Line>);

#[derive(Debug, Clone)]
struct Line {
    fields: [String; 4],
    password: Secret,
}

impl Passfile {
    /// Reads a file. One that is missing, or that others may read, has no lines: so libpq does it, with a warning.
    pub(crate) fn read(path: &Path) -> Self {
        let Ok(meta) = path.metadata() else {
            return Self::default();
        };
        if !meta.is_file() || meta.permissions().mode() & 0o077 != 0 {
            tracing::warn!(file = %path.display(), "password file is not used: its mode must be 0600");
            return Self::default();
        }
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self(text.lines().filter_map(parse_line).collect())
    }

    /// The password of the first line that fits.
    pub(crate) fn find(&self, host: &str, port: u16, database: &str, user: &str) -> Option<&Secret> {
        let port = port.to_string();
        let wanted = [host, &port, database, user];
        let fits = |line: &&Line| {
            line.fields
                .iter()
                .zip(wanted)
                .all(|(field, want)| field == "*" || field == want)
        };
        self.0.iter().find(fits).map(|line| &line.password)
    }
}

/// A field as the file wants it.
pub(crate) fn escape(field: &str) -> String {
    field.replace('\\', "\\\\").replace(':', "\\:")
}

fn parse_line(line: &str) -> Option<Line> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = split(line).into_iter();
    let fields4 = [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
    let password = Secret::new(fields.next()?);
    Some(Line {
        fields: fields4,
        password,
    })
}

fn split(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == ':' {
            fields.push(String::new());
            continue;
        }
        let c = if c == '\\' { chars.next() } else { Some(c) };
        if let Some(last) = fields.last_mut() {
            last.extend(c);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, Passfile) {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("pgpass");
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
        let read = Passfile::read(&path);
        (dir, read)
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let (_dir, file) = file("# mine\nh:5432:d:u:one\n*:*:*:u:t\\:wo\n", 0o600);
        assert_eq!(file.find("h", 5432, "d", "u").expect("fits").expose(), "one");
        assert_eq!(file.find("other", 1, "d", "u").expect("fits").expose(), "t:wo");
        assert!(file.find("h", 5432, "d", "someone").is_none());
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let (_dir, file) = file("*:*:*:*:secret\n", 0o644);
        assert!(file.find("h", 1, "d", "u").is_none());
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(password in "[^\\r\\n\\x00]{1,30}") {
            let line = format!("*:*:*:*:{}", escape(&password));
            let read = parse_line(&line).expect("line");
            prop_assert_eq!(read.password.expose(), password);
        }
    }
}
