//! Step types that make and restore backups.
