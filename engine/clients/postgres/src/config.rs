//! What a targets file says of a PostgreSQL target.

use jm_step::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

/// A target with `provider: postgres`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "postgres target")]
pub struct PostgresConfig {
    /// Where the database is: `postgresql://user@host/database`, or `host=… dbname=…`. As libpq reads it, with the `PG*`
    /// variables and `~/.pgpass` for what it leaves out.
    pub url: Secret,
    /// The database to go through where the one named in `url` is lost. Default: `postgres`, then `template1`.
    #[serde(default)]
    pub maintenance_database: Option<String>,
    /// File with the certificates to trust (PEM). Default: `sslrootcert` of the URL, `PGSSLROOTCERT`,
    /// `~/.postgresql/root.crt`, then those of the machine.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// How many seconds a query that only looks may take before the server ends it. Default: 60.
    #[serde(default)]
    #[schemars(range(min = 1, max = 86400))]
    pub query_timeout_seconds: Option<u32>,
}
