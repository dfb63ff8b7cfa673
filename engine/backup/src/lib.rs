//! Backups: catalogue, formats, encryption and the streaming pipeline.
//!
//! ```text
//! create   pg_dump ─▶ count, SHA-256 ─▶ deflate (threads) ─▶ OpenPGP ─▶ SHA-256 ─┬▶ directory: NAME.partial, fsync
//!                                                                                 └▶ bucket: multipart
//!          read back and proven (L1–L3) ─▶ NAME ─▶ NAME.manifest.json, last
//! restore  copy ─▶ SHA-256 ─▶ OpenPGP ─▶ inflate ─▶ SHA-256 ─▶ pg_restore -f - ─▶ script filter ─▶ psql
//! ```
//!
//! - [`Backups`] is the connection that targets files name `backup`; [`BackupsReader`] is it without a method that writes
//!   backups. A backup has one copy in each location; any copy that proves is as good as another.
//! - A file with a name of ours and no manifest counts for nothing where others have one: see [`BackupsReader::select`].
//! - Every stage holds a few chunks of 256 KiB; a stage that dies is a failure of all, never a shorter backup.
//! - A backup is of a database, of objects of a Kubernetes cluster, of files or of a git repository: see [`Content`]. Names, locations, encryption, proof,
//!   manifests and choosing are the same for both.
//! - Nothing is written in clear text. `gpg --decrypt` and PostgreSQL's own programs are enough to restore without jm.

mod archive;
mod backups;
mod belongings;
mod catalogue;
mod chain;
mod code;
mod config;
mod content;
mod create;
mod decrypt;
mod files;
mod fitness;
mod flow;
mod keeping;
mod key;
mod listing;
mod location;
mod made;
mod manifest;
mod name;
mod objects;
mod observer;
mod openpgp;
mod refusals;
mod restore;
mod script;
mod select;
mod source;
mod tools;
mod wholeness;

pub use backups::{Backups, BackupsReader};
pub use belongings::KeptBelongings;
pub use catalogue::{BackupCopy, BackupRef, Catalogue, Entry, Status};
pub use chain::{Breach, Broken};
pub use code::{BundleRequest, bundle_in};
pub use config::{Config, MAKING, READING, S3Config};
pub use content::{
    ChosenImage, CodeContent, CodeIndex, Content, DatabaseContent, FileKind, FilesContent, FilesIndex, IndexedFile,
    IndexedKind, IndexedObject, KubernetesContent, KubernetesIndex, LeftOut, RecordedImage, UnkeptContents, Unreadable,
    is_written,
};
pub use create::{CreateRequest, Created, Usable, check_label, parse_pin};
pub use files::{FilesDifference, FilesLook, FilesRequest};
pub use fitness::{Fitness, Meant, Owners, Target, fitness};
pub use keeping::Keeping;
pub use key::{KeyId, Passphrase};
pub use listing::Row;
pub use location::LocationName;
pub use made::Made;
pub use manifest::{Level, Manifest, Previous, Release, Seconds, Sizes};
pub use name::{BackupName, ContentKind, DumpFormat, Format};
pub use objects::{ObjectReader, ObjectWriter, ObjectsRequest};
pub use observer::{Committing, Observer, Silent, Told, until_cancelled};
pub use openpgp::OpenError;
pub use restore::{AsideState, LEFT_OUT, RestoreRequest, Restored, TransactionState, copy_name};
pub use select::{Prove, Selection, Skipped, Wanted, Which};
pub use tools::Toolbox;
pub use wholeness::{Lacking, Later, Places, Wholeness};

#[cfg(test)]
mod tests;
