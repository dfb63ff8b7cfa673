//! The passphrase, and the keys derived from it: one to authenticate manifests, and an id to tell keys apart.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, Mac};
use jm_step::{Secret, StepError};
use rand::TryRngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Below this many characters nothing is encrypted any more; what was can still be read.
const SHORTEST_TO_WRITE: usize = 16;
/// What the procedures ask for.
const ADVISED: usize = 32;
/// Salts that one catalogue may bring: each costs a slow derivation, and a foreign one may be there to cost time.
const MOST_SALTS: usize = 64;
/// How manifests are keyed. Fixed, so that a file cannot ask for an expensive one.
const KDF: &str = "argon2id m=19456 t=2 p=1";

/// The passphrase that opens backups: as it was given, less one newline at its end, as gpg has it.
#[derive(Debug, Clone)]
pub struct Passphrase(Secret);

impl Passphrase {
    /// Takes the key in. An empty one is refused.
    pub fn new(key: &Secret) -> Result<Self, StepError> {
        let text = key.expose();
        let text = text.strip_suffix('\n').unwrap_or(text);
        if text.is_empty() {
            return Err(StepError::invalid_input("the encryption key is empty").hint("set `ENCRYPTION_KEY`"));
        }
        Ok(Self(Secret::new(text)))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Refuses a key that is too short to encrypt with.
    pub(crate) fn fit_to_write(&self) -> Result<(), StepError> {
        let length = self.expose().chars().count();
        if length < SHORTEST_TO_WRITE {
            return Err(StepError::invalid_input(format!(
                "the encryption key has {length} characters; nothing is encrypted with fewer than {SHORTEST_TO_WRITE}"
            ))
            .hint(format!(
                "make a key of at least {ADVISED} characters, such as by `openssl rand -base64 32`, and keep the old one for the old backups"
            )));
        }
        Ok(())
    }

    /// Something to tell whoever owns the key.
    pub(crate) fn advice(&self) -> Option<String> {
        let length = self.expose().chars().count();
        (length < ADVISED).then(|| format!("the encryption key has {length} characters; {ADVISED} are advised"))
    }
}

/// Which key a backup needs, without saying anything that makes the key easier to guess than the backup does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyId {
    /// A tag of the passphrase under the salt, hex.
    pub id: String,
    /// The salt, hex.
    pub salt: String,
    /// How tag and manifest key are derived.
    pub kdf: String,
}

/// Derives keys, each salt once.
#[derive(Debug)]
pub(crate) struct KeyRing {
    passphrase: Passphrase,
    derived: Mutex<BTreeMap<String, Derived>>,
}

#[derive(Clone)]
struct Derived {
    mac_key: [u8; 32],
    id: String,
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Derived")
    }
}

impl KeyRing {
    pub(crate) fn new(passphrase: Passphrase) -> Self {
        Self {
            passphrase,
            derived: Mutex::default(),
        }
    }

    pub(crate) fn passphrase(&self) -> &Passphrase {
        &self.passphrase
    }

    /// Names our key under a salt; under a new one where none is given.
    pub(crate) fn identify(&self, salt: Option<String>) -> Result<KeyId, StepError> {
        let salt = match salt {
            Some(salt) => salt,
            None => new_salt()?,
        };
        let derived = self.derive(&salt)?;
        Ok(KeyId {
            id: derived.id,
            salt,
            kdf: KDF.to_owned(),
        })
    }

    /// Whether this is our key.
    pub(crate) fn is_ours(&self, key: &KeyId) -> Result<bool, StepError> {
        Ok(key.kdf == KDF && self.derive(&key.salt)?.id == key.id)
    }

    /// Authenticates a text under a salt: HMAC-SHA256, hex.
    pub(crate) fn mac(&self, salt: &str, text: &[u8]) -> Result<String, StepError> {
        Ok(hex::encode(self.keyed(salt, text)?.finalize().into_bytes()))
    }

    /// Checks a tag, in constant time.
    pub(crate) fn verify(&self, salt: &str, text: &[u8], tag: &str) -> Result<bool, StepError> {
        // One spelling only: a file is authentic byte for byte.
        if tag.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(false);
        }
        let Ok(tag) = hex::decode(tag) else { return Ok(false) };
        Ok(self.keyed(salt, text)?.verify_slice(&tag).is_ok())
    }

    fn keyed(&self, salt: &str, text: &[u8]) -> Result<Hmac<Sha256>, StepError> {
        Ok(hmac(&self.derive(salt)?.mac_key, text))
    }

    fn derive(&self, salt: &str) -> Result<Derived, StepError> {
        let mut known = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(derived) = known.get(salt) {
            return Ok(derived.clone());
        }
        if known.len() >= MOST_SALTS {
            return Err(
                StepError::refused("the catalogue has manifests under too many different salts")
                    .hint("somebody else's files are among the backups: move them away"),
            );
        }
        let derived = derive(&self.passphrase, salt)?;
        known.insert(salt.to_owned(), derived.clone());
        Ok(derived)
    }
}

fn derive(passphrase: &Passphrase, salt: &str) -> Result<Derived, StepError> {
    let bad = || StepError::failed("a manifest's salt is not 16 bytes of hex");
    let salt = hex::decode(salt).map_err(|_| bad())?;
    if salt.len() != 16 {
        return Err(bad());
    }
    let kdf = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
    let mut root = [0; 32];
    kdf.hash_password_into(passphrase.expose().as_bytes(), &salt, &mut root)
        .map_err(|error| StepError::failed(format!("the manifest key cannot be derived: {error}")))?;
    let part = |name: &str| -> [u8; 32] { hmac(&root, name.as_bytes()).finalize().into_bytes().into() };
    Ok(Derived {
        mac_key: part("jm manifest key 1"),
        id: hex::encode(&part("jm key id 1")[..8]),
    })
}

fn hmac(key: &[u8; 32], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac
}

fn new_salt() -> Result<String, StepError> {
    let mut salt = [0; 16];
    rand::rngs::OsRng
        .try_fill_bytes(&mut salt)
        .map_err(|error| StepError::failed("the system gives no random numbers").source(error))?;
    Ok(hex::encode(salt))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(key: &str) -> KeyRing {
        KeyRing::new(Passphrase::new(&Secret::new(key)).expect("key"))
    }

    #[test]
    fn exactly_one_newline_is_dropped() {
        for (given, expected) in [
            ("a\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r\n", "a\r"),
            (" a ", " a "),
            ("a", "a"),
        ] {
            let passphrase = Passphrase::new(&Secret::new(given)).expect("key");
            assert_eq!(passphrase.expose(), expected, "{given:?}");
        }
        for empty in ["", "\n"] {
            assert!(Passphrase::new(&Secret::new(empty)).is_err());
        }
    }

    #[test]
    fn a_short_key_reads_but_does_not_write() {
        let short = Passphrase::new(&Secret::new("only-15-letters")).expect("key");
        assert!(short.fit_to_write().is_err());
        let enough = Passphrase::new(&Secret::new("sixteen-letters!")).expect("key");
        assert!(enough.fit_to_write().is_ok());
        assert!(enough.advice().is_some());
        assert!(
            Passphrase::new(&Secret::new("k".repeat(10_000)))
                .expect("key")
                .advice()
                .is_none()
        );
    }

    #[test]
    fn a_tag_fits_one_key_one_salt_and_one_text() {
        let ours = ring("correct horse battery");
        let id = ours.identify(None).expect("id");
        let tag = ours.mac(&id.salt, b"text").expect("mac");
        assert!(ours.verify(&id.salt, b"text", &tag).expect("verify"));
        assert!(!ours.verify(&id.salt, b"texT", &tag).expect("verify"));
        assert!(!ours.verify(&id.salt, b"text", "zz").expect("verify"));
        assert!(!ours.verify(&id.salt, b"text", &tag.to_uppercase()).expect("verify"));
        let theirs = ring("correct horse batterY");
        assert!(!theirs.verify(&id.salt, b"text", &tag).expect("verify"));
        assert!(ours.is_ours(&id).expect("id"));
        assert!(!theirs.is_ours(&id).expect("id"));
        assert_ne!(ours.identify(None).expect("id").salt, id.salt);
    }
}
