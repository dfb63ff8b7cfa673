//! The whole pipeline against a real PostgreSQL, a real gpg, and real stores.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests make and read files of their own"
)]

mod belongings;
mod create;
mod faults;
mod files;
mod in_place;
mod legacy;
mod locations;
mod restore;
mod rig;
