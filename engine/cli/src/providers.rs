//! Every provider there is: one explicit list, read from top to bottom.

use jm_step::Registry;

/// The registry of all step types and connections.
pub fn registry() -> Registry {
    Registry::new()
        .with(jm_provider_backup::provider())
        .with(jm_provider_check::provider())
        .with(jm_provider_cloudfront::provider())
        .with(jm_provider_command::provider())
        .with(jm_provider_git::provider())
        .with(jm_provider_http::provider())
        .with(jm_provider_kubernetes::provider())
        .with(jm_provider_manual::provider())
        .with(jm_provider_notify::provider())
        .with(jm_provider_postgres::provider())
        .with(jm_provider_s3::provider())
}

#[cfg(test)]
mod tests {
    use jm_step::Known;
    use serde_json::json;

    use super::*;

    /// Systems that give no rights by name: whoever knows a webhook's address may call it.
    const WITHOUT_RIGHTS: [&str; 1] = ["notify"];
    /// Step types that read of their target what the targets file says, and nothing else.
    const ASKS_NOTHING: [&str; 1] = ["kubernetes.manifests"];

    #[test]
    fn every_step_type_says_what_it_needs_of_each_role() {
        let registry = registry();
        for step_type in registry.step_types() {
            let (name, roles) = (step_type.name(), step_type.roles());
            let needs = step_type.needs(&Known::new(json!({})));
            for role in roles.iter().filter(|role| !WITHOUT_RIGHTS.contains(&role.provider)) {
                let of_role = needs.iter().filter(|need| need.role == role.name);
                let rights: Vec<&str> = of_role.flat_map(|need| need.rights).copied().collect();
                assert_eq!(
                    rights.is_empty(),
                    ASKS_NOTHING.contains(&name),
                    "what {name} needs of its {}",
                    role.name
                );
                let connection = registry.connection(role.provider).expect("a connection type");
                for right in rights {
                    assert!(
                        connection.knows_right(right),
                        "{name}: {} gives no `{right}`",
                        role.provider
                    );
                }
            }
            let known = |need: &jm_step::Need| roles.iter().any(|role| role.name == need.role);
            assert!(needs.iter().all(known), "{name} has no such role: {needs:?}");
        }
    }
}
