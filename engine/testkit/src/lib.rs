//! Fake step types, a memory journal and conformance checks for tests.
