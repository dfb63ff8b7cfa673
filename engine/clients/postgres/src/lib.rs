//! PostgreSQL: the connection that steps share, a reader that cannot write, and what a database can be compared by.
//!
//! Addresses follow libpq: URLs and `key=value` strings, `PG*` variables, `~/.pgpass`, Unix sockets, several hosts. What
//! is asked of a server runs with `search_path = pg_catalog`; readers run in read-only transactions.

mod belongings;
mod catalogue;
mod child;
mod config;
mod conninfo;
mod error;
mod hold;
mod inventory;
mod membership;
mod passfile;
mod postgres;
pub mod quote;
mod reader;
mod rights;
mod session;
mod sessions;
mod setting;
mod settings;
mod snapshot;
#[cfg(any(test, feature = "test-server"))]
#[doc(hidden)]
pub mod test_server;
mod tls;

#[cfg(test)]
mod tests;

pub use belongings::{About, Belongings, COPY_MARK, Grant, Statement, comment_for_later};
pub use catalogue::{DatabaseFacts, RoleSettings, ServerFacts};
pub use child::ChildEnvironment;
pub use config::PostgresConfig;
pub use error::{is_lost_connection, is_said_by_server};
pub use inventory::{CountMode, Extension, Inventory, SequenceState, TableRows};
pub use membership::Strangers;
pub use postgres::Postgres;
pub use quote::RelationName;
pub use reader::Reader;
pub use session::{ReadSession, Session, TextValue};
pub use sessions::{SessionFacts, Whose};
pub use setting::{Setting, left_out};
pub use snapshot::ExportedSnapshot;
pub use tokio_postgres::types::ToSql;
