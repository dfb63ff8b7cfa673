//! Step types on Kubernetes.
