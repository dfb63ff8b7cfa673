//! Step types that ask over HTTP.
