//! Plan files: from YAML text to a checked, sealed plan.
