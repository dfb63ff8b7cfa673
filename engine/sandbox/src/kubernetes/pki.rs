//! Certificates, tokens and kubeconfig files, made once and kept.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::SandboxError;

/// Who the server is and whom it knows.
pub(crate) struct Identity {
    folder: PathBuf,
    /// Token of the administrator.
    admin: String,
    /// Token of one who may only look.
    viewer: String,
}

/// Whom a token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// May do everything.
    Admin,
    /// May get, list and watch.
    Viewer,
}

impl User {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
        }
    }
}

impl Identity {
    /// Reads the identity kept under `root/pki`, or makes one.
    pub(crate) fn open(root: &Path) -> Result<Self, SandboxError> {
        let folder = root.join("pki");
        fs::create_dir_all(&folder).map_err(SandboxError::file("make", &folder))?;
        // The tokens are written last: where they are, everything else is.
        if !folder.join("tokens.json").exists() {
            make_certificates(&folder)?;
            let tokens = json!({"admin": new_token(), "viewer": new_token()});
            write_private(&folder.join("tokens.json"), &tokens.to_string())?;
        }
        let path = folder.join("tokens.json");
        let text = fs::read_to_string(&path).map_err(SandboxError::file("read", &path))?;
        let tokens: serde_json::Value = serde_json::from_str(&text).map_err(|error| SandboxError::State {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let token = |name: &str| tokens[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            admin: token("admin"),
            viewer: token("viewer"),
            folder,
        })
    }

    /// The user whom a bearer token belongs to.
    pub(super) fn user(&self, token: &str) -> Option<User> {
        [(&self.admin, User::Admin), (&self.viewer, User::Viewer)]
            .into_iter()
            .find_map(|(known, user)| (!known.is_empty() && known == token).then_some(user))
    }

    /// The authority's certificate in PEM.
    pub(super) fn authority(&self) -> Result<String, SandboxError> {
        let path = self.folder.join("ca.crt");
        fs::read_to_string(&path).map_err(SandboxError::file("read", &path))
    }

    /// The TLS settings of the listener.
    pub(super) fn tls(&self) -> Result<Arc<rustls::ServerConfig>, SandboxError> {
        let certificate = CertificateDer::from_pem_file(self.folder.join("server.crt")).map_err(tls_error)?;
        let key = PrivateKeyDer::from_pem_file(self.folder.join("server.key")).map_err(tls_error)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(tls_error)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Writes the kubeconfig of a user and says where it is.
    pub(crate) fn write_kubeconfig(&self, root: &Path, user: User, at: SocketAddr) -> Result<PathBuf, SandboxError> {
        let file = match user {
            User::Admin => "kubeconfig",
            User::Viewer => "kubeconfig-viewer",
        };
        let authority = self.authority()?;
        let token = match user {
            User::Admin => &self.admin,
            User::Viewer => &self.viewer,
        };
        let text = kubeconfig(&format!("https://{at}"), authority.as_bytes(), user.name(), token);
        let path = root.join(file);
        write_private(&path, &text)?;
        Ok(path)
    }
}

/// What a real control plane needs beside what the stand-in has.
impl Identity {
    /// A file of the identity.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes `tokens.csv`, in which an API server looks up who asks, and the keys that sign the tokens of service
    /// accounts, where they are not there.
    pub(crate) fn write_control_plane_files(&self) -> Result<(), SandboxError> {
        let tokens = format!("{},admin,admin,\"system:masters\"\n", self.admin);
        write_private(&self.file("tokens.csv"), &tokens)?;
        // The private key is written last: where it is, the other one is.
        if !self.file("service-accounts.key").exists() {
            let key = KeyPair::generate().map_err(tls_error)?;
            write_private(&self.file("service-accounts.pub"), &key.public_key_pem())?;
            write_private(&self.file("service-accounts.key"), &key.serialize_pem())?;
        }
        Ok(())
    }
}

fn kubeconfig(url: &str, authority: &[u8], user: &str, token: &str) -> String {
    let authority = base64::engine::general_purpose::STANDARD.encode(authority);
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n- name: sandbox\n  cluster:\n    server: {url}\n    certificate-authority-data: {authority}\n\
         users:\n- name: {user}\n  user:\n    token: {token}\n\
         contexts:\n- name: sandbox\n  context:\n    cluster: sandbox\n    user: {user}\n    namespace: default\n\
         current-context: sandbox\n"
    )
}

fn make_certificates(folder: &Path) -> Result<(), SandboxError> {
    let authority_key = KeyPair::generate().map_err(tls_error)?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "jm-sandbox-ca");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority_certificate = authority.self_signed(&authority_key).map_err(tls_error)?;

    let key = KeyPair::generate().map_err(tls_error)?;
    let names = ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default"].map(str::to_owned);
    let mut leaf = CertificateParams::new(names).map_err(tls_error)?;
    leaf.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let issuer = Issuer::new(authority, authority_key);
    let certificate = leaf.signed_by(&key, &issuer).map_err(tls_error)?;

    write_private(&folder.join("ca.crt"), &authority_certificate.pem())?;
    write_private(&folder.join("server.crt"), &certificate.pem())?;
    write_private(&folder.join("server.key"), &key.serialize_pem())
}

fn new_token() -> String {
    hex::encode(rand::random::<[u8; 24]>())
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<(), SandboxError> {
    use std::io::Write;
    let aside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)
        .map_err(SandboxError::file("make", &aside))?;
    file.write_all(text.as_bytes())
        .map_err(SandboxError::file("write", &aside))?;
    fs::rename(&aside, path).map_err(SandboxError::file("write", path))
}

fn tls_error(error: impl std::fmt::Display) -> SandboxError {
    SandboxError::Tls {
        service: "Kubernetes",
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_made_once() {
        let root = tempfile::tempdir().unwrap();
        let first = Identity::open(root.path()).unwrap();
        let again = Identity::open(root.path()).unwrap();
        assert_eq!(first.admin, again.admin);
        assert_eq!(again.user(&first.viewer), Some(User::Viewer));
        assert_eq!(again.user("guess"), None);
        again.tls().unwrap();
    }

    #[test]
    fn kubeconfig_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let identity = Identity::open(root.path()).unwrap();
        let path = identity
            .write_kubeconfig(root.path(), User::Admin, "127.0.0.1:1".parse().unwrap())
            .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            fs::read_to_string(path)
                .unwrap()
                .contains("server: https://127.0.0.1:1")
        );
    }
}
