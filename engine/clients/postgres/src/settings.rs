//! Everything that is needed to reach a server, settled once: configuration, connection string, `PG*`, password file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jm_step::{Environment, OpenContext, RunId, Secret, Secrets, StepError, StepId};
use tokio_postgres::config::{ChannelBinding, SslNegotiation, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::PostgresConfig;
use crate::conninfo::{self, Parameters};
use crate::passfile::Passfile;
use crate::tls::{self, Check};

mod hosts;
mod named;
pub(crate) use hosts::Host;
pub(crate) use named::files;

/// libpq waits for ever; a plan has a clock.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const QUERY_TIMEOUT: Duration = Duration::from_mins(1);
/// What a server keeps of an application's name.
const NAME_LIMIT: usize = 63;
/// Parameters that say nothing about how jm connects: of libpq's, and of what application frameworks add to a URL.
const IGNORED: &[&str] = &[
    "application_name",
    "client_encoding",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "pgbouncer",
    "pool_timeout",
    "schema",
    "socket_timeout",
    "ssl_min_protocol_version",
    "sslcompression",
    "sslsni",
    "statement_cache_size",
    "tcp_user_timeout",
];
const KNOWN: &[&str] = &[
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "passfile",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "user",
];
/// libpq's variables, by the parameter each stands in for.
const VARIABLES: &[(&str, &str)] = &[
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGDATABASE", "dbname"),
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGOPTIONS", "options"),
    ("PGPASSFILE", "passfile"),
    ("PGPASSWORD", "password"),
    ("PGPORT", "port"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGUSER", "user"),
];

/// `sslmode`, as libpq has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    fn parse(text: &str) -> Result<Self, StepError> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err(bad(
                    "sslmode",
                    "disable, allow, prefer, require, verify-ca or verify-full",
                ));
            }
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    fn check(self) -> Check {
        match self {
            Self::VerifyFull => Check::SignerAndHost,
            Self::VerifyCa => Check::Signer,
            _ => Check::Nothing,
        }
    }
}

/// How to reach a server and which database is meant.
pub(crate) struct Settings {
    pub(crate) hosts: Vec<Host>,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) maintenance: Option<String>,
    pub(crate) sslmode: SslMode,
    pub(crate) tls_roots: Option<PathBuf>,
    pub(crate) tls_client: Option<(PathBuf, PathBuf)>,
    pub(crate) tls: MakeRustlsConnect,
    pub(crate) negotiation: SslNegotiation,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) target_session_attrs: TargetSessionAttrs,
    pub(crate) connect_timeout: Duration,
    pub(crate) query_timeout: Duration,
    pub(crate) options: Option<String>,
    pub(crate) secrets: Secrets,
    pub(crate) run: RunId,
    password: Option<Secret>,
    passfile: Passfile,
}

impl Settings {
    /// Settles them. Reads the password file and the certificates, and no network.
    pub(crate) fn resolve(config: &PostgresConfig, cx: &OpenContext) -> Result<Self, StepError> {
        let environment = &cx.environment;
        let parameters = gather(config.url.expose(), environment)?;
        cx.secrets.register(config.url.expose());
        let get = |key: &str| parameters.get(key).map(String::as_str);
        let password = get("password").map(Secret::new);
        if let Some(password) = &password {
            cx.secrets.register(password.expose());
        }
        let hosts = hosts::resolve(get("host"), get("hostaddr"), get("port"))?;
        let user = user(get("user"), environment)?;
        let roots = roots(config.ca_file.as_deref(), get("sslrootcert"), environment);
        let sslmode = sslmode(get("sslmode"), &hosts, roots.as_deref(), get("sslrootcert"))?;
        let tls_client = client_certificate(get("sslcert"), get("sslkey"), environment)?;
        Ok(Self {
            tls: connector(sslmode, roots.as_deref(), tls_client.as_ref())?,
            database: get("dbname").unwrap_or(&user).to_owned(),
            maintenance: config.maintenance_database.clone(),
            negotiation: negotiation(get("sslnegotiation"))?,
            channel_binding: channel_binding(get("channel_binding"))?,
            target_session_attrs: session_attrs(get("target_session_attrs"))?,
            connect_timeout: connect_timeout(get("connect_timeout"))?,
            query_timeout: config
                .query_timeout_seconds
                .map_or(QUERY_TIMEOUT, |seconds| Duration::from_secs(seconds.into())),
            options: get("options").map(str::to_owned),
            passfile: passfile(get("passfile"), environment),
            secrets: cx.secrets.clone(),
            run: cx.run.clone(),
            tls_roots: roots,
            hosts,
            user,
            sslmode,
            tls_client,
            password,
        })
    }

    /// What is wrong with the text of the configuration and of the `PG*` variables. No file is read.
    pub(crate) fn check(config: &PostgresConfig, environment: &Environment) -> Result<(), StepError> {
        let parameters = gather(config.url.expose(), environment)?;
        let get = |key: &str| parameters.get(key).map(String::as_str);
        // Where no host is named, finding the default one means looking for its socket.
        hosts::resolve(get("host").or(Some("localhost")), get("hostaddr"), get("port"))?;
        user(get("user"), environment)?;
        get("sslmode").map(SslMode::parse).transpose()?;
        both_or_neither(get("sslcert"), get("sslkey"))?;
        negotiation(get("sslnegotiation"))?;
        channel_binding(get("channel_binding"))?;
        session_attrs(get("target_session_attrs"))?;
        connect_timeout(get("connect_timeout")).map(drop)
    }

    /// Server and database that a configuration means, without resolving the rest of it.
    pub(crate) fn place(config: &PostgresConfig, cx: &OpenContext) -> Result<String, StepError> {
        let parameters = gather(config.url.expose(), &cx.environment)?;
        let get = |key: &str| parameters.get(key).map(String::as_str);
        let hosts = hosts::resolve(get("host"), get("hostaddr"), get("port"))?;
        let database = match get("dbname") {
            Some(database) => database.to_owned(),
            None => user(get("user"), &cx.environment)?,
        };
        Ok(format!("{}/{database}", shown(&hosts)))
    }

    /// The password for a database on a host, registered for masking.
    pub(crate) fn password(&self, host: &Host, database: &str) -> Option<Secret> {
        let found = self.password.clone().or_else(|| {
            self.passfile
                .find(&host.passfile_name(), host.port, database, &self.user)
                .cloned()
        });
        if let Some(password) = &found {
            self.secrets.register(password.expose());
        }
        found
    }

    /// The name under which a server lists our sessions: `jm/RUN` or `jm/RUN/STEP`, cut to what a server keeps.
    pub(crate) fn application_name(&self, step: Option<&StepId>) -> String {
        let mut name = format!("jm/{}", self.run.short());
        if let Some(step) = step {
            name = format!("{name}/{step}");
        }
        name.truncate(NAME_LIMIT);
        name
    }

    /// For messages: `db.example:5432`, several with commas.
    pub(crate) fn address(&self) -> String {
        shown(&self.hosts)
    }

    /// Whether the server is on this machine, as far as the address tells.
    pub(crate) fn is_local(&self) -> bool {
        self.hosts.iter().all(Host::is_local)
    }
}

fn shown(hosts: &[Host]) -> String {
    let shown: Vec<_> = hosts.iter().map(Host::to_string).collect();
    shown.join(",")
}

fn bad(key: &str, want: &str) -> StepError {
    StepError::invalid_input(format!("`{key}` of the connection string is not one of {want}"))
}

/// The connection string's own parameters, and the environment's where it leaves one out.
fn gather(url: &str, environment: &Environment) -> Result<Parameters, StepError> {
    let mut parameters = conninfo::parse(url)?;
    let unknown: Vec<_> = parameters
        .keys()
        .filter(|key| !KNOWN.contains(&key.as_str()) && !IGNORED.contains(&key.as_str()))
        .map(|key| format!("`{key}`"))
        .collect();
    if !unknown.is_empty() {
        return Err(StepError::invalid_input(format!(
            "the connection string has parameters that jm does not know: {}",
            unknown.join(", ")
        ))
        .hint("take them out: jm does not follow a setting that it does not understand"));
    }
    for (variable, key) in VARIABLES {
        if let Some(value) = environment.get(variable).filter(|value| !value.is_empty()) {
            parameters.entry((*key).to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    Ok(parameters)
}

fn user(given: Option<&str>, environment: &Environment) -> Result<String, StepError> {
    given
        .or_else(|| environment.get("USER"))
        .or_else(|| environment.get("LOGNAME"))
        .map(str::to_owned)
        .ok_or_else(|| {
            StepError::invalid_input("the connection string names no user").hint("add one: `postgresql://USER@host/…`")
        })
}

fn home_file(environment: &Environment, file: &str) -> Option<PathBuf> {
    environment.get("HOME").map(|home| Path::new(home).join(file))
}

fn roots(ca_file: Option<&str>, given: Option<&str>, environment: &Environment) -> Option<PathBuf> {
    match ca_file.filter(|file| !file.is_empty()).or(given) {
        Some("system") => None,
        Some(file) => Some(PathBuf::from(file)),
        None => home_file(environment, ".postgresql/root.crt").filter(|file| file.exists()),
    }
}

/// Where nothing is said, a server elsewhere has to prove itself, and one on this machine need not. `require` with a
/// file of trusted certificates means `verify-ca`, and `system` means `verify-full`, as for libpq.
fn sslmode(
    given: Option<&str>,
    hosts: &[Host],
    roots: Option<&Path>,
    named: Option<&str>,
) -> Result<SslMode, StepError> {
    let mode = match given {
        Some(given) => SslMode::parse(given)?,
        None if named == Some("system") => SslMode::VerifyFull,
        None if hosts.iter().all(Host::is_local) => SslMode::Prefer,
        None => SslMode::VerifyFull,
    };
    if matches!(mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer) && !hosts.iter().all(Host::is_local) {
        tracing::warn!(
            sslmode = mode.as_str(),
            "the server is on another machine and need not prove who it is"
        );
    }
    Ok(match mode {
        SslMode::Require if roots.is_some() => SslMode::VerifyCa,
        mode => mode,
    })
}

fn client_certificate(
    certificate: Option<&str>,
    key: Option<&str>,
    environment: &Environment,
) -> Result<Option<(PathBuf, PathBuf)>, StepError> {
    if let Some((certificate, key)) = both_or_neither(certificate, key)? {
        return Ok(Some((certificate.into(), key.into())));
    }
    let certificate = home_file(environment, ".postgresql/postgresql.crt");
    let key = home_file(environment, ".postgresql/postgresql.key");
    Ok(certificate
        .zip(key)
        .filter(|(certificate, key)| certificate.exists() && key.exists()))
}

fn both_or_neither<'a>(
    certificate: Option<&'a str>,
    key: Option<&'a str>,
) -> Result<Option<(&'a str, &'a str)>, StepError> {
    if certificate.is_some() == key.is_some() {
        return Ok(certificate.zip(key));
    }
    Err(StepError::invalid_input("`sslcert` and `sslkey` belong together").hint("give both or neither"))
}

fn connector(
    mode: SslMode,
    roots: Option<&Path>,
    client: Option<&(PathBuf, PathBuf)>,
) -> Result<MakeRustlsConnect, StepError> {
    let client = client.map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    tls::connector(mode.check(), &tls::Files { roots, client })
}

fn negotiation(given: Option<&str>) -> Result<SslNegotiation, StepError> {
    match given {
        None | Some("postgres") => Ok(SslNegotiation::Postgres),
        Some("direct") => Ok(SslNegotiation::Direct),
        Some(_) => Err(bad("sslnegotiation", "postgres or direct")),
    }
}

fn channel_binding(given: Option<&str>) -> Result<ChannelBinding, StepError> {
    match given {
        None | Some("prefer") => Ok(ChannelBinding::Prefer),
        Some("require") => Ok(ChannelBinding::Require),
        Some("disable") => Ok(ChannelBinding::Disable),
        Some(_) => Err(bad("channel_binding", "prefer, require or disable")),
    }
}

fn session_attrs(given: Option<&str>) -> Result<TargetSessionAttrs, StepError> {
    match given {
        None | Some("any") => Ok(TargetSessionAttrs::Any),
        Some("read-write" | "primary") => Ok(TargetSessionAttrs::ReadWrite),
        Some("read-only" | "standby") => Ok(TargetSessionAttrs::ReadOnly),
        Some(_) => Err(bad(
            "target_session_attrs",
            "any, read-write, read-only, primary or standby",
        )),
    }
}

fn connect_timeout(given: Option<&str>) -> Result<Duration, StepError> {
    let Some(given) = given else {
        return Ok(CONNECT_TIMEOUT);
    };
    let seconds: u64 = given
        .parse()
        .map_err(|_| bad("connect_timeout", "the whole numbers of seconds"))?;
    Ok(if seconds == 0 {
        CONNECT_TIMEOUT
    } else {
        Duration::from_secs(seconds)
    })
}

fn passfile(given: Option<&str>, environment: &Environment) -> Passfile {
    let file = given.map(PathBuf::from).or_else(|| home_file(environment, ".pgpass"));
    file.map_or_else(Passfile::default, |file| Passfile::read(&file))
}

/// The `PG*` variables that make a PostgreSQL program reach the same server.
pub(crate) fn variables(settings: &Settings, database: &str, step: Option<&StepId>) -> BTreeMap<String, String> {
    let list = |field: &dyn Fn(&Host) -> String| settings.hosts.iter().map(field).collect::<Vec<_>>().join(",");
    let mut variables = BTreeMap::from([
        ("PGHOST".to_owned(), list(&|host| host.name.clone())),
        ("PGPORT".to_owned(), list(&|host| host.port.to_string())),
        ("PGUSER".to_owned(), settings.user.clone()),
        ("PGDATABASE".to_owned(), database.to_owned()),
        ("PGSSLMODE".to_owned(), settings.sslmode.as_str().to_owned()),
        (
            "PGCONNECT_TIMEOUT".to_owned(),
            settings.connect_timeout.as_secs().to_string(),
        ),
        ("PGAPPNAME".to_owned(), settings.application_name(step)),
        ("PGCLIENTENCODING".to_owned(), "UTF8".to_owned()),
    ]);
    if settings.hosts.iter().any(|host| host.address.is_some()) {
        let address = |host: &Host| host.address.map(|a: IpAddr| a.to_string()).unwrap_or_default();
        variables.insert("PGHOSTADDR".to_owned(), list(&address));
    }
    if let Some(roots) = child_roots(settings) {
        variables.insert("PGSSLROOTCERT".to_owned(), roots);
    }
    if let Some((certificate, key)) = &settings.tls_client {
        variables.insert("PGSSLCERT".to_owned(), certificate.display().to_string());
        variables.insert("PGSSLKEY".to_owned(), key.display().to_string());
    }
    if let Some(options) = &settings.options {
        variables.insert("PGOPTIONS".to_owned(), options.clone());
    }
    if settings.target_session_attrs == TargetSessionAttrs::ReadWrite {
        variables.insert("PGTARGETSESSIONATTRS".to_owned(), "read-write".to_owned());
    }
    variables
}

/// libpq before 16 does not know `system`, so it gets the machine's own bundle by name.
fn child_roots(settings: &Settings) -> Option<String> {
    const BUNDLES: &[&str] = &[
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    if let Some(roots) = &settings.tls_roots {
        return Some(roots.display().to_string());
    }
    let verifies = settings.sslmode.check() != Check::Nothing;
    let bundle = BUNDLES
        .iter()
        .find(|bundle| Path::new(bundle).exists())
        .unwrap_or(&"system");
    verifies.then(|| (*bundle).to_owned())
}

#[cfg(test)]
mod tests;
