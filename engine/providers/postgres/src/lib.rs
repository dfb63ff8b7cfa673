//! Step types on PostgreSQL.
