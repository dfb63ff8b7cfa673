//! Against real stores.
