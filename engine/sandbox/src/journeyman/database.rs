//! The database where it lives in the cluster.

use std::time::Duration;

use tokio::time::Instant;

use super::{Session, kubernetes, maintenance_url, objects};
use crate::{DatabasePlace, Description, SandboxError};

/// Its pod.
pub(crate) const POD: &str = "postgres-0";
/// The claim on its volume.
pub(crate) const CLAIM: &str = "data-postgres-0";
/// The Secret that holds its password.
pub(crate) const CREDENTIALS: &str = "database-credentials";
/// Its objects.
const OBJECTS: &str = include_str!("database.yaml");
/// How long it may take to answer.
const LIMIT: Duration = Duration::from_mins(2);

/// Deploys the database's server where it lives in the cluster and is not there, and waits until it answers.
pub async fn deploy_database(sandbox: &Description) -> Result<(), SandboxError> {
    if sandbox.database == DatabasePlace::Beside {
        return Ok(());
    }
    let password = url_password(sandbox.variable("DATABASE_URL"));
    let manifests = OBJECTS.replace(r#"password: """#, &format!(r#"password: "{password}""#));
    objects::create_all(&kubernetes(sandbox).await?, &manifests).await?;
    let limit = Instant::now() + LIMIT;
    loop {
        match Session::open(&maintenance_url(sandbox)).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > limit => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The password of a URL that the sandbox made, which needs no decoding.
fn url_password(url: &str) -> &str {
    let login = url.split('@').next().unwrap_or_default();
    login.rsplit(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_that_of_the_address() {
        assert_eq!(url_password("postgresql://journeyman:00ff@127.0.0.1:1/a"), "00ff");
        assert!(OBJECTS.contains(r#"password: """#), "there is a place for it");
        assert!(OBJECTS.contains(CREDENTIALS));
    }
}
