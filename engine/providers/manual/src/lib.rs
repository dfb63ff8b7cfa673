//! Step types that wait for people.
