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
//! - Nothing is written in clear text. `gpg --decrypt` and PostgreSQL's own programs are enough to restore without jm.

mod archive;
mod backups;
mod belongings;
mod catalogue;
mod config;
mod create;
mod decrypt;
mod fitness;
mod flow;
mod key;
mod listing;
mod location;
mod manifest;
mod name;
mod observer;
mod openpgp;
mod restore;
mod script;
mod select;
mod source;
mod tools;

pub use backups::{Backups, BackupsReader};
pub use belongings::KeptBelongings;
pub use catalogue::{BackupCopy, BackupRef, Catalogue, Entry, Status};
pub use config::{Config, S3Config};
pub use create::{CreateRequest, Created, check_label};
pub use fitness::{Fitness, Target, fitness};
pub use key::{KeyId, Passphrase};
pub use listing::Row;
pub use location::LocationName;
pub use manifest::{Level, Manifest, Previous, Seconds, Sizes};
pub use name::{BackupName, DumpFormat};
pub use observer::{Observer, Silent};
pub use openpgp::OpenError;
pub use restore::{AsideState, Owners, RestoreRequest, Restored, TransactionState, copy_name};
pub use select::{Selection, Skipped, Wanted, Which};
pub use tools::Toolbox;

#[cfg(test)]
mod tests;
