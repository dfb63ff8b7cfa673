//! Step types that assert.
