//! How many rows were ever written into each table, by the server's own counters: so it is told what somebody wrote
//! between two looks.

use std::collections::BTreeMap;
use std::time::Duration;

use jm_client_postgres::{ReadSession, Reader, RelationName};
use jm_step::{StepError, StepId};

/// Rows inserted, updated and deleted since the server began to count, for each table: also where it was none, so that
/// counters that begin anew are told from a table that is gone.
pub(crate) type Written = BTreeMap<String, u64>;

/// Before this version the counters are brought to those who ask by a process of its own, which may be half a second late.
const COUNTS_AT_ONCE: u32 = 15;
const LATE: Duration = Duration::from_secs(1);
/// How many tables a sentence names.
const SHOWN: usize = 8;

/// A session in the database, with which to look once nobody else is there. It has to be opened while the database is.
pub(crate) struct Watch {
    session: ReadSession,
    is_late: bool,
}

impl Watch {
    pub(crate) async fn open(reader: &Reader, database: &str, step: Option<&StepId>) -> Result<Self, StepError> {
        Ok(Self {
            session: reader.connect_to(database, step).await?,
            is_late: reader.server().await?.major() < COUNTS_AT_ONCE,
        })
    }

    /// The process that stands for it on the server.
    pub(crate) fn pid(&self) -> i32 {
        self.session.pid()
    }

    /// The counters; `None` where the server does not count. A session hands in what it wrote when it ends, at the latest.
    pub(crate) async fn look(&self) -> Result<Option<Written>, StepError> {
        if self.is_late {
            tokio::time::sleep(LATE).await;
        }
        let counts = "SELECT current_setting('track_counts')::bool";
        if !self.session.query_one(counts, &[]).await?.get::<_, bool>(0) {
            return Ok(None);
        }
        let sql = "SELECT jsonb_build_array(schemaname, relname, n_tup_ins + n_tup_upd + n_tup_del)::text
            FROM pg_stat_user_tables";
        let tables: Vec<(String, String, u64)> = self.session.json(sql, &[]).await?;
        let named = |(schema, name, rows)| (RelationName::new(schema, name).to_string(), rows);
        Ok(Some(tables.into_iter().map(named).collect()))
    }
}

fn were(rows: u64) -> String {
    match rows {
        1 => "1 row was".to_owned(),
        rows => format!("{rows} rows were"),
    }
}

fn in_tables(tables: &Written) -> String {
    let mut named: Vec<_> = tables
        .iter()
        .map(|(table, rows)| format!("{rows} in `{table}`"))
        .collect();
    if named.len() > SHOWN {
        let more = named.len() - SHOWN;
        named.truncate(SHOWN);
        named.push(format!("the others in {more} more"));
    }
    named.join(", ")
}

/// What was written between two looks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Nothing.
    Nothing,
    /// So many rows, in these tables.
    Rows(u64, Written),
    /// It cannot be told, for this reason.
    Unknown(&'static str),
}

impl Since {
    pub(crate) fn between(before: Option<&Written>, after: Option<&Written>) -> Self {
        let (Some(before), Some(after)) = (before, after) else {
            return Self::Unknown("the server does not count what is written (`track_counts`)");
        };
        // A table that is gone took its counter along.
        let now = |table: &String| after.get(table);
        if before
            .iter()
            .any(|(table, rows)| now(table).is_some_and(|now| now < rows))
        {
            return Self::Unknown("the server's counters were reset meanwhile");
        }
        let more = after.iter().filter_map(|(table, rows)| {
            let more = rows - before.get(table).copied().unwrap_or(0);
            (more > 0).then(|| (table.clone(), more))
        });
        let more: Written = more.collect();
        if more.is_empty() {
            return Self::Nothing;
        }
        Self::Rows(more.values().sum(), more)
    }

    /// Why a run is degraded by it. The old database is called `now` until the switch, and `kept` afterwards.
    pub(crate) fn reason(&self, now: &str, kept: &str) -> Option<String> {
        let has_them = format!("database `{now}`, which is called `{kept}` once it was switched away");
        match self {
            Self::Nothing => None,
            Self::Unknown(why) => Some(format!(
                "whether somebody wrote into the old database after its sessions had been ended cannot be told: {why}; what \
                 was written would be in {has_them}"
            )),
            Self::Rows(rows, tables) => Some(format!(
                "{} written into the old database by somebody who came back after its sessions had been ended: {}; \
                 a backup taken meanwhile may lack them: they are in {has_them}",
                were(*rows),
                in_tables(tables)
            )),
        }
    }

    /// What a dry run says of it, before the old database is closed: more may follow.
    pub(crate) fn so_far(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Unknown(why) => Some(format!(
                "whether somebody wrote into the old database since its sessions were ended cannot be told: {why}"
            )),
            Self::Rows(rows, tables) => Some(format!(
                "{} written into the old database since its sessions were ended ({}): they would stay in the one that is \
                 kept aside",
                were(*rows),
                in_tables(tables)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tables: &[(&str, u64)]) -> Written {
        tables
            .iter()
            .map(|(table, rows)| ((*table).to_owned(), *rows))
            .collect()
    }

    #[test]
    fn what_was_written_is_told_by_table() {
        let before = written(&[("public.a", 3), ("public.gone", 5)]);
        let since = |after: &[(&str, u64)]| Since::between(Some(&before), Some(&written(after)));
        assert_eq!(since(&[("public.a", 3)]), Since::Nothing);
        let more = since(&[("public.a", 5), ("public.new", 1)]);
        assert_eq!(more, Since::Rows(3, written(&[("public.a", 2), ("public.new", 1)])));
        let reason = more.reason("d", "d_old").expect("a reason");
        assert!(reason.contains("3 rows were written into the old database"), "{reason}");
        assert!(reason.contains("2 in `public.a`, 1 in `public.new`"), "{reason}");
        assert!(
            reason.contains("they are in database `d`, which is called `d_old` once"),
            "{reason}"
        );
        for unknown in [
            since(&[("public.a", 1)]),
            since(&[("public.a", 0)]),
            Since::between(None, Some(&before)),
        ] {
            assert!(
                unknown
                    .reason("d", "d_old")
                    .expect("a reason")
                    .contains("cannot be told")
            );
        }
    }
}
