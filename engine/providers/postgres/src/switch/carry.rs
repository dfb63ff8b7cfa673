//! What belongs to the old database's name goes along to the copy that takes its place.

use jm_client_postgres::quote::{ident, literal};
use jm_client_postgres::{About, Belongings, COPY_MARK, DatabaseFacts, Session, Setting, Statement, comment_for_later};
use jm_step::StepError;

/// What both databases have, before either is touched.
pub(super) struct Both {
    copy: Belongings,
    old: Option<Belongings>,
}

impl Both {
    pub(super) async fn of(
        session: &Session,
        copy: &DatabaseFacts,
        old: Option<&DatabaseFacts>,
    ) -> Result<Self, StepError> {
        let old = match old {
            Some(old) => Some(Belongings::new(old, session.grants(old.oid).await?)),
            None => None,
        };
        Ok(Self {
            copy: Belongings::new(copy, session.grants(copy.oid).await?),
            old,
        })
    }
}

/// Makes the copy, which bears the name already, what the old database was; gives the settings that the server refused us.
/// Where there was none, the restore has made it so by what the backup knows, all but the comment, which told until now
/// that it is a copy.
pub(super) async fn over(session: &Session, name: &str, both: &Both) -> Result<Vec<Setting>, StepError> {
    let mut refused = Vec::new();
    let Some(old) = &both.old else {
        uncover(session, name, &both.copy).await?;
        return Ok(refused);
    };
    for statement in old.statements(name, &both.copy) {
        let Statement { about, sql } = statement;
        let done = match &about {
            // A database that lacks a setting serves, and one statement mends it; without the switch nothing serves.
            About::Reset | About::Setting(_) => session.attempt(&sql).await,
            _ => session.batch(&sql).await.map(|()| true),
        };
        let done =
            done.map_err(|error| error.context(format_args!("carrying over the {about} of database `{name}`")))?;
        if let (false, About::Setting(setting)) = (done, about) {
            refused.push(setting);
        }
    }
    Ok(refused)
}

/// What people had written comes back; where they had written nothing, nothing stays.
async fn uncover(session: &Session, name: &str, copy: &Belongings) -> Result<(), StepError> {
    let marked = copy.comment.as_deref().filter(|comment| comment.starts_with(COPY_MARK));
    let Some(comment) = marked else { return Ok(()) };
    let comment = comment_for_later(comment).map_or_else(|| "NULL".to_owned(), literal);
    session
        .batch(&format!("COMMENT ON DATABASE {} IS {comment}", ident(name)))
        .await
}
