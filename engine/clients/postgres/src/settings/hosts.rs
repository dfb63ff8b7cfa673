//! The hosts of a connection string: names, addresses or folders of Unix sockets, each with its port.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use jm_step::StepError;

const DEFAULT_PORT: u16 = 5432;
/// Where distributions put the server's socket.
const SOCKET_FOLDERS: &[&str] = &["/var/run/postgresql", "/tmp"];

/// One place where the server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// A name, an address, or the folder of a Unix socket.
    pub(crate) name: String,
    /// The address to use instead of asking for it by name.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
}

impl Host {
    pub(crate) fn is_socket(&self) -> bool {
        self.name.starts_with(['/', '@'])
    }

    pub(crate) fn is_local(&self) -> bool {
        let address = self.address.or_else(|| self.name.parse().ok());
        self.is_socket() || address.map_or(self.name == "localhost", |address| address.is_loopback())
    }

    /// The name that password files know it by: libpq calls the default socket folder `localhost`.
    pub(crate) fn passfile_name(&self) -> String {
        if SOCKET_FOLDERS.contains(&self.name.as_str()) {
            "localhost".to_owned()
        } else {
            self.name.clone()
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_socket() {
            write!(f, "{}/.s.PGSQL.{}", self.name, self.port)
        } else if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// Puts the lists together. One port serves all hosts.
pub(super) fn resolve(
    names: Option<&str>,
    addresses: Option<&str>,
    ports: Option<&str>,
) -> Result<Vec<Host>, StepError> {
    let addresses = list(addresses);
    let names = match list(names) {
        names if names.iter().all(|name| name.is_empty()) && !addresses.is_empty() => addresses.clone(),
        names if names.is_empty() => vec![""],
        names => names,
    };
    let ports = list(ports);
    if ports.len() > 1 && ports.len() != names.len() || !addresses.is_empty() && addresses.len() != names.len() {
        return Err(uneven());
    }
    names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let port = port(ports.get(index).or(ports.first()).copied().unwrap_or(""))?;
            let address = address(addresses.get(index).copied().unwrap_or(""))?;
            let name = if name.is_empty() {
                default_host(port)
            } else {
                (*name).to_owned()
            };
            Ok(Host { name, address, port })
        })
        .collect()
}

fn uneven() -> StepError {
    StepError::invalid_input("the connection string does not have as many ports or addresses as hosts")
        .hint("give one port for all hosts, or one for each")
}

fn list(text: Option<&str>) -> Vec<&str> {
    text.map(|text| text.split(',').map(str::trim).collect())
        .unwrap_or_default()
}

fn port(text: &str) -> Result<u16, StepError> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        StepError::invalid_input("a port of the connection string is not a number from 1 to 65535")
            .hint("percent-encode special characters in the password: `@`, `:`, `/`, `?` and `#`")
    })
}

fn address(text: &str) -> Result<Option<IpAddr>, StepError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| StepError::invalid_input("`hostaddr` of the connection string is not an address"))
}

fn default_host(port: u16) -> String {
    let socket = |folder: &&&str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
    SOCKET_FOLDERS.iter().find(socket).unwrap_or(&"localhost").to_string()
}
