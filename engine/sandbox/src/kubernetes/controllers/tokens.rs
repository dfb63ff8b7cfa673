//! Secrets for the tokens of service accounts: filled where somebody made one, and gone with the account.
//!
//! Nobody is let in by such a token: this server knows its two users alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::object::{self, text};
use super::super::store::Key;
use super::{Cluster, Options};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

pub(super) fn pass(cluster: &Cluster) {
    for secret in cluster.store.all("secrets") {
        if secret["type"] == TYPE && !object::is_terminating(&secret) {
            look_after(cluster, &secret);
        }
    }
}

fn look_after(cluster: &Cluster, secret: &Value) {
    let annotations = &secret["metadata"]["annotations"];
    let namespace = object::namespace(secret);
    let name = annotations[ACCOUNT].as_str().unwrap_or_default();
    let account = cluster.store.get(&Key::new("serviceaccounts", namespace, name));
    let uid = annotations[ACCOUNT_UID].as_str();
    match account {
        Some(account) if uid.is_none_or(|uid| uid == object::uid(&account)) => {
            if text(secret, "/data/token").is_empty() || uid.is_none() {
                fill(cluster, secret, object::uid(&account));
            }
        }
        _ => cluster.delete("secrets", secret, &Options::quietly()),
    }
}

fn fill(cluster: &Cluster, secret: &Value, account: &str) {
    let token = hex::encode(rand::random::<[u8; 24]>());
    cluster.change("secrets", secret, |secret| {
        let namespace = object::namespace(secret).to_owned();
        object::set(secret, &["metadata", "annotations", ACCOUNT_UID], json!(account));
        for (field, value) in [
            ("ca.crt", &cluster.authority),
            ("namespace", &namespace),
            ("token", &token),
        ] {
            object::set_default(secret, &["data", field], json!(STANDARD.encode(value)));
        }
    });
}
