//! Step types on PostgreSQL: await, look, verify, stop and let in, switch, analyse, ask, make and drop databases.

mod analyze;
mod common;
mod create_database;
mod drop_database;
mod inspect;
mod query;
mod quiesce;
mod ready;
mod sessions;
mod switch;
mod unquiesce;
mod verify;
mod written;

#[cfg(test)]
mod bench;

use jm_client_postgres::Postgres;
use jm_step::Provider;

/// The provider `postgres`.
pub fn provider() -> Provider {
    Provider::of::<Postgres>()
        .step(ready::Ready)
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

#[cfg(test)]
mod tests {
    use jm_step::{Effect, Registry};

    use super::*;

    #[test]
    fn the_registry_takes_them_all() {
        let registry = Registry::new().with(provider());
        assert_eq!(registry.step_types().count(), 10);
        for step_type in registry.step_types() {
            let name = step_type.name();
            assert!(
                !step_type.summary().is_empty() && step_type.roles().len() == 1,
                "{name}"
            );
            assert_eq!(
                step_type.is_gate(),
                ["postgres.ready", "postgres.verify"].contains(&name)
            );
            let cannot_be_undone = ["postgres.switch", "postgres.drop_database"].contains(&name);
            assert_eq!(
                step_type.most_effect() == Effect::Irreversible,
                cannot_be_undone,
                "{name}"
            );
            for schema in [step_type.input_schema(), step_type.output_schema()] {
                let fields = schema["properties"].as_object().expect("an object");
                assert!(
                    fields.values().all(|field| field["description"].is_string()),
                    "{name}: {schema}"
                );
            }
        }
        let inspect = registry.get("postgres.inspect").expect("there").output_schema();
        assert_eq!(inspect["properties"]["serving"][jm_step::schema::STILL_SERVED], true);
    }
}
