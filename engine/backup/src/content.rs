//! What a backup is of: a database, with what it held; objects of a Kubernetes cluster, or files, with an index of them; or
//! a git repository.
//!
//! A manifest is not encrypted, so an index tells names, counts and hashes, and never a value.

mod images;

use std::collections::BTreeMap;
use std::fmt;

use jm_client_postgres::Inventory;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::images::{ChosenImage, RecordedImage};
use crate::belongings::KeptBelongings;
use crate::manifest::Manifest;
use crate::name::ContentKind;

/// What a backup is of. Which of them is seen by its fields, since manifests of databases were there first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Content {
    /// A database.
    Database(Box<DatabaseContent>),
    /// Objects of a Kubernetes cluster.
    Kubernetes(Box<KubernetesContent>),
    /// Files, and values of environment variables.
    Files(Box<FilesContent>),
    /// A git repository.
    Code(Box<CodeContent>),
}

/// What is known of a dumped database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseContent {
    /// `pg_dump`'s version.
    pub client_version: String,
    /// `pg_dump`'s options, as far as they decide about the content.
    pub parameters: Vec<String>,
    /// Roles that own or may use something in it.
    pub roles: Vec<String>,
    /// Those of them that own something which is in the dump. Backups made before this was kept have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// What the database held in the same snapshot.
    pub inventory: Inventory,
    /// What belongs to the database's name and is in no dump. Backups made before this was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub belongings: Option<KeptBelongings>,
    /// The server's system identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The database's character classification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctype: Option<String>,
}

impl DatabaseContent {
    /// The version of the `pg_dump` that made it; 0 where it is no number.
    pub(crate) fn made_by_major(&self) -> u32 {
        let digits = self.client_version.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

/// What is known of exported objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KubernetesContent {
    /// The index.
    pub kubernetes: KubernetesIndex,
}

/// Which objects an export holds, readable without its key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KubernetesIndex {
    /// The UID of the cluster's namespace `kube-system`; empty where the objects came from a file.
    pub cluster: String,
    /// Version of the API server; empty where the objects came from a file.
    pub server_version: String,
    /// The namespaces that were exported.
    pub namespaces: Vec<String>,
    /// The kinds, and the objects of each.
    pub kinds: Vec<IndexedKind>,
    /// The images that ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<RecordedImage>,
    /// The claims whose contents are not in it and do not come back with their volumes: a driver makes new ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unkept_contents: Vec<UnkeptContents>,
    /// Kinds that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

/// A kind, and its objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IndexedKind {
    /// Its API group and version, such as `apps/v1`.
    pub api_version: String,
    /// Its name, such as `Deployment`.
    pub kind: String,
    /// The objects, by namespace and name.
    pub objects: Vec<IndexedObject>,
}

/// An object, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IndexedObject {
    /// Its namespace; empty where its kind has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The keys of a Secret or a `ConfigMap`, each with a tag of its value that only the owner of the backups' key can
    /// compute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
}

/// A claim, and where its contents are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct UnkeptContents {
    /// Namespace of the claim.
    pub namespace: String,
    /// Its name.
    pub claim: String,
    /// The name of its volume.
    pub volume: String,
    /// The driver of the volume, such as `ebs.csi.aws.com`; empty where nobody could tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// What its driver calls the volume: the disk, or the path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub handle: String,
}

/// A kind that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unreadable {
    /// The kind, or the API group and version of which not even the kinds are known.
    pub kind: String,
    /// What the API server said.
    pub why: String,
}

/// What is known of files that were backed up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FilesContent {
    /// The index.
    pub files: FilesIndex,
}

/// Which files and variables a backup holds, readable without its key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FilesIndex {
    /// What they are called together, such as `configuration`.
    pub set: String,
    /// Files, folders and symbolic links by their whole path.
    pub files: BTreeMap<String, IndexedFile>,
    /// Environment variables, each with a tag of its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// What is not in it, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A file, a folder or a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IndexedFile {
    /// What it is.
    pub kind: FileKind,
    /// Its permissions, in octal, such as `0600`.
    pub mode: String,
    /// Its size; 0 for what is no file.
    pub bytes: u64,
    /// A tag of its content, or of where a link leads, that only the owner of the backups' key can compute.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
}

/// What stands in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, which is kept as one.
    Link,
}

/// What is not in a backup of files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// The path, or the variable's name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// What is known of a repository that was backed up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CodeContent {
    /// What leads into it.
    pub code: CodeIndex,
}

/// What leads into a repository.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CodeIndex {
    /// The address of the remote, without the credentials in it.
    pub repository: String,
    /// The commit of each branch and tag.
    pub refs: BTreeMap<String, String>,
}

/// Whether what is written `statefulset/postgres` is the object of this kind and name.
pub fn is_written(object: &str, kind: &str, name: &str) -> bool {
    let object = object.split_once('/');
    object.is_some_and(|(wanted, called)| kind.eq_ignore_ascii_case(wanted) && name == called)
}

impl KubernetesIndex {
    /// How many objects there are.
    pub fn count(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.objects.len() as u64).sum()
    }

    /// Those of these objects, such as `statefulset/postgres`, that are not among them.
    pub fn lacking(&self, objects: &[String]) -> Vec<String> {
        let holds = |object: &String| {
            self.kinds.iter().any(|kind| {
                let mut names = kind.objects.iter().map(|object| object.name.as_str());
                names.any(|name| is_written(object, &kind.kind, name))
            })
        };
        objects.iter().filter(|object| !holds(object)).cloned().collect()
    }
}

impl fmt::Display for UnkeptContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            claim,
            volume,
            driver,
            handle,
        } = self;
        match (driver.as_str(), handle.as_str()) {
            (_, "") => write!(f, "{namespace}/{claim} (volume `{volume}`)"),
            ("", handle) => write!(f, "{namespace}/{claim} (`{handle}`)"),
            (driver, handle) => write!(f, "{namespace}/{claim} ({driver} `{handle}`)"),
        }
    }
}

impl Manifest {
    /// Of which kind of system it is.
    pub fn kind(&self) -> ContentKind {
        match &self.content {
            Content::Database(_) => ContentKind::Database,
            Content::Kubernetes(_) => ContentKind::Kubernetes,
            Content::Files(_) => ContentKind::Files,
            Content::Code(_) => ContentKind::Code,
        }
    }

    /// What is known of the database, where it is of one.
    pub fn database(&self) -> Option<&DatabaseContent> {
        match &self.content {
            Content::Database(content) => Some(content),
            _ => None,
        }
    }

    /// What the database held, where it is of one.
    pub fn inventory(&self) -> Option<&Inventory> {
        self.database().map(|database| &database.inventory)
    }

    /// The index of the objects, where it is of a cluster.
    pub fn kubernetes(&self) -> Option<&KubernetesIndex> {
        match &self.content {
            Content::Kubernetes(content) => Some(&content.kubernetes),
            _ => None,
        }
    }

    /// The index of the files, where it is of some.
    pub fn files(&self) -> Option<&FilesIndex> {
        match &self.content {
            Content::Files(content) => Some(&content.files),
            _ => None,
        }
    }

    /// What leads into the repository, where it is of one.
    pub fn code(&self) -> Option<&CodeIndex> {
        match &self.content {
            Content::Code(content) => Some(&content.code),
            _ => None,
        }
    }

    /// What it is of: the database, the namespaces, the set of files or the repository. Backups of one thing are versions
    /// of each other; those of two are not.
    pub fn of(&self) -> String {
        match &self.content {
            Content::Database(content) => content.inventory.database.clone(),
            Content::Kubernetes(content) => content.kubernetes.namespaces.join(","),
            Content::Files(content) => content.files.set.clone(),
            Content::Code(content) => content.code.repository.clone(),
        }
    }

    /// The version of the server it was made from; empty where it came from no server that has one.
    pub fn server_version(&self) -> &str {
        match &self.content {
            Content::Database(content) => &content.inventory.server_version,
            Content::Kubernetes(content) => &content.kubernetes.server_version,
            Content::Files(_) | Content::Code(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_export_lacks_is_told_by_the_words_that_ask_for_it() {
        let database = IndexedObject {
            namespace: "app".to_owned(),
            name: "db".to_owned(),
            keys: BTreeMap::new(),
        };
        let index = KubernetesIndex {
            kinds: vec![IndexedKind {
                api_version: "apps/v1".to_owned(),
                kind: "StatefulSet".to_owned(),
                objects: vec![database],
            }],
            ..KubernetesIndex::default()
        };
        let asked = ["statefulset/db", "statefulset/postgres", "cluster/db"].map(str::to_owned);
        assert_eq!(index.lacking(&asked), ["statefulset/postgres", "cluster/db"]);
    }
}
