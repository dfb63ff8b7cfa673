//! Step types on PostgreSQL: look, verify, stop and let in, switch, analyse, ask, make and drop databases.

mod analyze;
mod common;
mod create_database;
mod drop_database;
mod inspect;
mod query;
mod quiesce;
mod sessions;
mod switch;
mod unquiesce;
mod verify;

#[cfg(test)]
mod bench;

use jm_client_postgres::Postgres;
use jm_step::Provider;

/// The provider `postgres`.
pub fn provider() -> Provider {
    Provider::of::<Postgres>()
        .step(inspect::Inspect)
        .step(verify::Verify)
        .step(quiesce::Quiesce)
        .step(unquiesce::Unquiesce)
        .step(switch::Switch)
        .step(analyze::Analyze)
        .step(query::Query)
        .step(create_database::CreateDatabase)
        .step(drop_database::DropDatabase)
}
