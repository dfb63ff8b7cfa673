//! What belongs to the old database's name goes along to the copy that takes its place.

use jm_client_postgres::quote::{ident, literal};
use jm_client_postgres::{Belongings, COPY_MARK, DatabaseFacts, Session, comment_for_later};
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

/// Makes the copy, which bears the name already, what the old database was. Where there was none, the restore has made
/// it so by what the backup knows, all but the comment, which told until now that it is a copy.
pub(super) async fn over(session: &Session, name: &str, both: &Both) -> Result<(), StepError> {
    let Some(old) = &both.old else {
        let marked = both
            .copy
            .comment
            .as_deref()
            .filter(|comment| comment.starts_with(COPY_MARK));
        let Some(comment) = marked else { return Ok(()) };
        // What people had written comes back; where they had written nothing, nothing stays.
        let comment = comment_for_later(comment).map_or_else(|| "NULL".to_owned(), literal);
        let sql = format!("COMMENT ON DATABASE {} IS {comment}", ident(name));
        return session.batch(&sql).await;
    };
    for statement in old.statements(name, &both.copy) {
        let about = statement.about;
        session
            .batch(&statement.sql)
            .await
            .map_err(|error| error.context(format_args!("carrying over the {about} of database `{name}`")))?;
    }
    Ok(())
}
