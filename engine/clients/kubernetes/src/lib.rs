//! Kubernetes: connection and reader.
