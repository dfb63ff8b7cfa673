//! Step types that run programs.
