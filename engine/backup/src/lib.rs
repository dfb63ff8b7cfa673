//! Backups: catalogue, formats, encryption and the streaming pipeline.

mod archive;
mod backups;
mod catalogue;
mod config;
mod create;
mod decrypt;
mod fitness;
mod flow;
mod key;
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
pub use catalogue::{BackupCopy, BackupRef, Catalogue, Entry, Status};
pub use config::{Config, S3Config};
pub use create::{CreateRequest, Created, check_label};
pub use fitness::{Fitness, Target, fitness};
pub use key::{KeyId, Passphrase};
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
