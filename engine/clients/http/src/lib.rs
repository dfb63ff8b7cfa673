//! HTTP: one client with the rules of the house.
//!
//! Every exchange ends in bounded time, replies are read as far as a limit, a redirect is followed only to the same
//! host, certificates are checked against the system's roots, and proxies follow `HTTP_PROXY`, `HTTPS_PROXY` and
//! `NO_PROXY`.

mod client;
pub use client::{Http, Reply, Request};
mod error;
mod period;
pub use period::Period;
mod tls;
pub use url::Url;

/// Whether a host is this machine itself.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
