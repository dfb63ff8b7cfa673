//! The whole pipeline against a real PostgreSQL, a real gpg, and real stores.

mod belongings;
mod create;
mod faults;
mod in_place;
mod legacy;
mod locations;
mod restore;
mod rig;
