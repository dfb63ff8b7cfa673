//! Names of backups: `journeyman_backup_20240115_020000.sql.gpg`, `pre_migration_20240115_020000.dump.gpg`. Read by a
//! strict grammar, so that nothing else in a directory or a bucket is ever taken for a backup.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use jm_step::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const LONGEST_LABEL: usize = 40;
/// What the names of exports of Kubernetes objects begin with where they have no label.
pub(crate) const KUBERNETES_STEM: &str = "k8s_backup";
/// What the names of backups of files begin with where they have no label.
pub(crate) const FILES_STEM: &str = "files_backup";
/// What the names of bundles of repositories begin with where they have no label.
pub(crate) const CODE_STEM: &str = "code_backup";
const MANIFEST: &str = ".manifest.json";
/// Ends the name of a file that is not finished.
pub(crate) const PARTIAL: &str = ".partial";

/// How a dump is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DumpFormat {
    /// `pg_dump -Fc`: `gpg --decrypt FILE | pg_restore -d DATABASE`.
    #[default]
    Custom,
    /// SQL: `gpg --decrypt FILE | psql DATABASE`.
    Plain,
}

/// What is inside a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A dump of a database, as `pg_dump -Fc` writes it.
    #[default]
    Custom,
    /// A dump of a database, as SQL.
    Plain,
    /// Objects of a Kubernetes cluster: `gpg --decrypt FILE | kubectl apply --server-side -f -`.
    Kubernetes,
    /// Files, and values of environment variables: `gpg --decrypt FILE | tar -x`.
    Files,
    /// A git repository: `gpg --decrypt FILE >code.bundle && git clone code.bundle`.
    Code,
}

impl Format {
    /// Of which kind of system it is.
    pub fn kind(self) -> ContentKind {
        match self {
            Self::Custom | Self::Plain => ContentKind::Database,
            Self::Kubernetes => ContentKind::Kubernetes,
            Self::Files => ContentKind::Files,
            Self::Code => ContentKind::Code,
        }
    }

    const ALL: [Self; 5] = [Self::Plain, Self::Custom, Self::Kubernetes, Self::Files, Self::Code];

    fn ending(self) -> &'static str {
        match self {
            Self::Custom => "dump",
            Self::Plain => "sql",
            Self::Kubernetes => "yaml",
            Self::Files => "tar",
            Self::Code => "bundle",
        }
    }
}

impl From<DumpFormat> for Format {
    fn from(format: DumpFormat) -> Self {
        match format {
            DumpFormat::Custom => Self::Custom,
            DumpFormat::Plain => Self::Plain,
        }
    }
}

/// Of which kind of system a backup is. One is never taken for the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ContentKind {
    /// A database.
    #[default]
    Database,
    /// Objects of a Kubernetes cluster.
    Kubernetes,
    /// Files, and values of environment variables.
    Files,
    /// A git repository.
    Code,
}

impl ContentKind {
    pub(crate) const ALL: [Self; 4] = [Self::Database, Self::Kubernetes, Self::Files, Self::Code];

    /// How one that is no dump is written, and a dump unless asked for otherwise.
    pub(crate) fn format(self) -> Format {
        match self {
            Self::Database => Format::Custom,
            Self::Kubernetes => Format::Kubernetes,
            Self::Files => Format::Files,
            Self::Code => Format::Code,
        }
    }

    /// For people, such as `a backup of a database`.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Database => "a backup of a database",
            Self::Kubernetes => "an export of Kubernetes objects",
            Self::Files => "a backup of files",
            Self::Code => "a bundle of a git repository",
        }
    }

    /// What each of such backups is of, such as `databases`.
    pub(crate) fn subjects(self) -> &'static str {
        match self {
            Self::Database => "databases",
            Self::Kubernetes => "namespaces",
            Self::Files => "sets of files",
            Self::Code => "repositories",
        }
    }

    /// What the names of such backups without a label begin with, where the catalogue's prefix is this.
    pub(crate) fn stem(self, prefix: &str) -> &str {
        match self {
            Self::Database => prefix,
            Self::Kubernetes => KUBERNETES_STEM,
            Self::Files => FILES_STEM,
            Self::Code => CODE_STEM,
        }
    }
}

/// A backup's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupName {
    text: String,
    stem: String,
    taken: DateTime,
    format: Format,
    gzipped: bool,
}

impl BackupName {
    /// The name of a backup that is made now. `again` tells those of one second apart: 1 for the first.
    pub(crate) fn new(stem: &str, now: Timestamp, again: u32, format: Format) -> Result<Self, StepError> {
        let stamp = TimeZone::UTC.to_datetime(now).strftime("%Y%m%d_%H%M%S").to_string();
        let again = if again > 1 { format!("_{again}") } else { String::new() };
        format!("{stem}_{stamp}{again}.{}.gpg", format.ending()).parse()
    }

    /// As the file is called.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the date: the catalogue's prefix, or a label.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The moment in the name, in UTC.
    pub fn taken_at(&self) -> Timestamp {
        // Within a day of the calendar's end a zone might not hold it; UTC holds every civil time that was parsed.
        TimeZone::UTC.to_timestamp(self.taken).unwrap_or(Timestamp::MIN)
    }

    /// What the ending says of the content. Reading goes by the content itself.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The name of its manifest.
    pub(crate) fn manifest(&self) -> String {
        format!("{}{MANIFEST}", self.text)
    }

    /// Whose manifest this would be.
    pub(crate) fn of_manifest(file: &str) -> Option<Self> {
        file.strip_suffix(MANIFEST)?.parse().ok()
    }

    /// Whether a finished or unfinished file of ours could have this name.
    pub(crate) fn is_partial(file: &str) -> bool {
        let Some(finished) = file.strip_suffix(PARTIAL) else {
            return false;
        };
        finished.parse::<Self>().is_ok() || Self::of_manifest(finished).is_some()
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialOrd for BackupName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// By time, then by text.
impl Ord for BackupName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.taken, &self.text).cmp(&(other.taken, &other.text))
    }
}

impl From<BackupName> for String {
    fn from(name: BackupName) -> String {
        name.text
    }
}

impl TryFrom<String> for BackupName {
    type Error = StepError;
    fn try_from(text: String) -> Result<Self, StepError> {
        text.parse()
    }
}

impl JsonSchema for BackupName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BackupName".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl FromStr for BackupName {
    type Err = StepError;
    fn from_str(text: &str) -> Result<Self, StepError> {
        parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
            StepError::invalid_input(format!("`{shown}` is not the name of a backup")).hint(
                "backups are called like `journeyman_backup_20240115_020000.sql.gpg`; `jm backup list` shows them",
            )
        })
    }
}

fn parse(text: &str) -> Option<BackupName> {
    let (rest, format, gzipped) = endings(text)?;
    let (rest, _again) = strip_again(rest);
    let (rest, time) = rest.rsplit_once('_')?;
    let (stem, date) = rest.rsplit_once('_')?;
    Some(BackupName {
        text: text.to_owned(),
        stem: Some(stem).filter(|stem| is_label(stem))?.to_owned(),
        taken: civil(date, time)?,
        format,
        gzipped,
    })
}

fn endings(text: &str) -> Option<(&str, Format, bool)> {
    let text = text.strip_suffix(".gpg").or_else(|| text.strip_suffix(".asc"))?;
    let (text, gzipped) = match text.strip_suffix(".gz") {
        Some(text) => (text, true),
        None => (text, false),
    };
    Format::ALL.into_iter().find_map(|format| {
        let text = text.strip_suffix(format.ending())?.strip_suffix('.')?;
        Some((text, format, gzipped))
    })
}

/// `_2` after the time of day: two of one second.
fn strip_again(text: &str) -> (&str, u32) {
    text.rsplit_once('_')
        .filter(|(_, again)| again.len() <= 3 && !again.starts_with('0'))
        .and_then(|(rest, again)| Some((rest, digits(again)?)))
        .unwrap_or((text, 1))
}

fn civil(date: &str, time: &str) -> Option<DateTime> {
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    let (_, _) = (digits(date)?, digits(time)?);
    DateTime::strptime("%Y%m%d_%H%M%S", format!("{date}_{time}")).ok()
}

fn digits(text: &str) -> Option<u32> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// What may stand before the date: `[a-z0-9][a-z0-9_-]{0,39}`.
pub(crate) fn is_label(text: &str) -> bool {
    (1..=LONGEST_LABEL).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
        && !text.starts_with(['-', '_'])
}

/// A calendar day, `YYYYMMDD`, as its first moment and the next day's, in UTC.
pub(crate) fn day(text: &str) -> Option<(Timestamp, Timestamp)> {
    let first = civil(text, "000000")?;
    let next = first.checked_add(1.day()).ok()?;
    let at = |time| TimeZone::UTC.to_timestamp(time).ok();
    Some((at(first)?, at(next)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_documents_names_are_read() {
        let name: BackupName = "journeyman_backup_20240115_020000.sql.gpg".parse().expect("name");
        assert_eq!(name.stem(), "journeyman_backup");
        assert_eq!(name.taken_at().to_string(), "2024-01-15T02:00:00Z");
        assert_eq!(name.format(), Format::Plain);
        let name: BackupName = "pre_migration_20240229_235959_2.dump.gpg".parse().expect("name");
        assert_eq!((name.stem(), name.format()), ("pre_migration", Format::Custom));
        assert_eq!(
            "x_20240115_020000.sql.asc"
                .parse::<BackupName>()
                .expect("name")
                .format(),
            Format::Plain
        );
        assert!(
            "x_20240115_020000.sql.gz.gpg"
                .parse::<BackupName>()
                .expect("name")
                .gzipped
        );
    }

    #[test]
    fn everything_else_is_not() {
        for bad in [
            "",
            "../../etc/x_20240115_020000.sql.gpg",
            "-rf_20240115_020000.sql.gpg",
            "a b_20240115_020000.sql.gpg",
            "a\n_20240115_020000.sql.gpg",
            "a\u{202e}_20240115_020000.sql.gpg",
            "a_20240230_020000.sql.gpg",
            "a_20240115_250000.sql.gpg",
            "a_20240115_0200.sql.gpg",
            "a_2024011_020000.sql.gpg",
            "a_20240115_020000.sql",
            "a_20240115_020000.sql.gpg.partial",
            "a_20240115_020000_02.sql.gpg",
            "A_20240115_020000.sql.gpg",
            "_20240115_020000.sql.gpg",
            &format!("{}_20240115_020000.sql.gpg", "a".repeat(300)),
        ] {
            let error = bad.parse::<BackupName>().expect_err(bad);
            assert!(!error.message().contains(['\n', '\u{202e}']), "shown escaped");
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let (first, next) = day("20240229").expect("leap day");
        assert_eq!(
            (first.to_string(), next.to_string()),
            ("2024-02-29T00:00:00Z".into(), "2024-03-01T00:00:00Z".into())
        );
        for bad in ["20240230", "2024.115", "20241301", "2024011", "202401155"] {
            assert_eq!(day(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_names_of_ours_are_swept() {
        assert!(BackupName::is_partial("a_20240115_020000.sql.gpg.partial"));
        assert!(BackupName::is_partial(
            "a_20240115_020000.sql.gpg.manifest.json.partial"
        ));
        for other in [
            "a_20240115_020000.sql.gpg",
            "movie.partial",
            "a_20240115_020000.sql.partial",
        ] {
            assert!(!BackupName::is_partial(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_name_that_is_made_reads_back(
            stem in "[a-z0-9][a-z0-9_-]{0,39}", second in 0_i64..4_000_000_000, again in 1_u32..1000,
            kind in 0..Format::ALL.len(),
        ) {
            let now = Timestamp::from_second(second).expect("time");
            let format = Format::ALL[kind];
            let name = BackupName::new(&stem, now, again, format).expect("name");
            prop_assert_eq!(name.taken_at(), now);
            prop_assert_eq!((name.stem(), name.format()), (stem.as_str(), format));
            prop_assert_eq!(BackupName::of_manifest(&name.manifest()), Some(name));
        }
    }
}
