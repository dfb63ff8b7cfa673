//! PostgreSQL: connection, reader and catalogue queries.
