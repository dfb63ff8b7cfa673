//! Step types that make, choose, restore and verify backups.

mod argument;
mod create;
mod extract;
mod files;
mod find;
mod inventory;
mod observer;
mod release;
mod restore;
mod select;
mod verify;

use jm_backup::Backups;
use jm_step::Provider;

/// The provider `backup`.
pub fn provider() -> Provider {
    Provider::of::<Backups>()
        .step(create::Create)
        .step(extract::Extract)
        .step(files::Files)
        .step(find::Find)
        .step(inventory::Inventory)
        .step(select::Select)
        .step(restore::Restore)
        .step(verify::Verify)
}

#[cfg(test)]
mod tests;
