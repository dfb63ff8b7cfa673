//! What an object must be before it is taken.

use serde_json::{Value, json};

use super::definitions;
use super::kinds::Kind;
use super::object;
use super::selectors::Labels;
use super::status::{ApiError, Cause};

/// The kinds whose names may hold capitals and colons.
const FREE_NAMES: [&str; 4] = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"];

/// Checks a new object, or one that takes the place of `old`.
///
/// # Errors
/// `Invalid`, with every field that is wrong.
pub(super) fn check(kind: &Kind, old: Option<&Value>, object: &Value) -> Result<(), ApiError> {
    let mut causes = Vec::new();
    check_name(kind, object, &mut causes);
    check_labels(object, &mut causes);
    match kind.stored_as {
        "deployments" | "replicasets" | "statefulsets" | "daemonsets" => check_workload(object, &mut causes),
        "jobs" => check_containers("spec.template.spec", &object["spec"]["template"]["spec"], &mut causes),
        "pods" => check_containers("spec", &object["spec"], &mut causes),
        "services" => check_service(object, &mut causes),
        "horizontalpodautoscalers" => check_autoscaler(object, &mut causes),
        definitions::RESOURCE => definitions::check(object, &mut causes),
        "configmaps" | "secrets" => check_data(object, &mut causes),
        _ => {}
    }
    if let Some(old) = old {
        check_fixed(kind, old, object, &mut causes);
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(kind, object::name(object), &causes))
    }
}

fn check_name(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let name = object::name(object);
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if FREE_NAMES.contains(&kind.stored_as) {
        if name.contains(['/', '%']) || name == "." || name == ".." {
            causes.push(Cause::invalid(
                "metadata.name",
                &json!(name),
                "may not contain '/' or '%'",
            ));
        }
    } else if !is_subdomain(name) {
        let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
            and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
            '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        causes.push(Cause::invalid("metadata.name", &json!(name), why));
    }
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Labels and annotations hold text, and nothing else.
fn check_labels(object: &Value, causes: &mut Vec<Cause>) {
    for (field, limit) in [("labels", 63), ("annotations", 262_144)] {
        for (key, value) in object::map(object, &format!("/metadata/{field}")).into_iter().flatten() {
            let place = format!("metadata.{field}");
            match value.as_str() {
                Some(text) if text.len() <= limit => {}
                Some(_) => causes.push(Cause::invalid(
                    &place,
                    &json!(key),
                    &format!("must be no more than {limit} bytes"),
                )),
                None => causes.push(Cause::invalid(&place, value, &format!("`{key}` must be text"))),
            }
        }
    }
}

fn check_workload(object: &Value, causes: &mut Vec<Cause>) {
    if object
        .pointer("/spec/replicas")
        .is_some_and(|count| count.as_i64().is_none_or(|count| count < 0))
    {
        let given = &object["spec"]["replicas"];
        causes.push(Cause::invalid(
            "spec.replicas",
            given,
            "must be greater than or equal to 0",
        ));
    }
    let selector = Labels::of_object(&object["spec"]["selector"]);
    if selector.is_empty() {
        causes.push(Cause::required("spec.selector", ""));
    }
    let labels = object::map(object, "/spec/template/metadata/labels");
    if selector.is_empty() || !selector.matches_labels(labels) {
        let given = json!(labels);
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &given, why));
    }
    let restart = object::text(object, "/spec/template/spec/restartPolicy");
    if !restart.is_empty() && restart != "Always" {
        causes.push(Cause::unsupported(
            "spec.template.spec.restartPolicy",
            &json!(restart),
            &["Always"],
        ));
    }
    check_containers("spec.template.spec", &object["spec"]["template"]["spec"], causes);
}

fn check_containers(place: &str, spec: &Value, causes: &mut Vec<Cause>) {
    let containers = object::items(spec, "/containers");
    if containers.is_empty() {
        causes.push(Cause::required(&format!("{place}.containers"), ""));
    }
    for (index, container) in containers.iter().enumerate() {
        for field in ["name", "image"] {
            if container[field].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::required(&format!("{place}.containers[{index}].{field}"), ""));
            }
        }
    }
}

/// Data is text: what is not was meant to be quoted.
fn check_data(object: &Value, causes: &mut Vec<Cause>) {
    for (key, value) in object::map(object, "/data").into_iter().flatten() {
        if !value.is_string() {
            causes.push(Cause::invalid("data", value, &format!("`{key}` must be text")));
        }
    }
}

fn check_service(object: &Value, causes: &mut Vec<Cause>) {
    let headless = object::text(object, "/spec/clusterIP") == "None";
    let external = object::text(object, "/spec/type") == "ExternalName";
    if object::items(object, "/spec/ports").is_empty() && !headless && !external {
        causes.push(Cause::required("spec.ports", ""));
    }
}

fn check_autoscaler(object: &Value, causes: &mut Vec<Cause>) {
    let (least, most) = (
        object::number(object, "/spec/minReplicas"),
        object::number(object, "/spec/maxReplicas"),
    );
    if most < 1 {
        causes.push(Cause::required("spec.maxReplicas", "must be set and greater than 0"));
    }
    if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &json!(most), why));
    }
    if object::text(object, "/spec/scaleTargetRef/name").is_empty() {
        causes.push(Cause::required("spec.scaleTargetRef.name", ""));
    }
}

/// What may not change once it is there.
fn check_fixed(kind: &Kind, old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let fixed: &[&str] = match kind.stored_as {
        "deployments" | "replicasets" | "daemonsets" => &["spec.selector"],
        "statefulsets" => &[
            "spec.selector",
            "spec.serviceName",
            "spec.volumeClaimTemplates",
            "spec.podManagementPolicy",
        ],
        "jobs" => &["spec.selector", "spec.template", "spec.completionMode"],
        "services" => &["spec.clusterIP"],
        "secrets" => &["type"],
        "persistentvolumeclaims" => &["spec.storageClassName", "spec.accessModes", "spec.volumeMode"],
        "storageclasses" => &["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"],
        "rolebindings" | "clusterrolebindings" => &["roleRef"],
        definitions::RESOURCE => &["spec.group", "spec.scope", "spec.names.plural", "spec.names.kind"],
        _ => &[],
    };
    for field in fixed {
        let pointer = format!("/{}", field.replace('.', "/"));
        let (before, after) = (old.pointer(&pointer), new.pointer(&pointer));
        if before.is_some_and(|value| !value.is_null()) && before != after {
            causes.push(Cause::invalid(
                field,
                after.unwrap_or(&Value::Null),
                "field is immutable",
            ));
        }
    }
    check_sealed(kind, old, new, causes);
}

/// A ConfigMap or Secret that was sealed keeps its data.
fn check_sealed(kind: &Kind, old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    if !["configmaps", "secrets"].contains(&kind.stored_as) || old["immutable"] != json!(true) {
        return;
    }
    for field in ["data", "binaryData", "immutable"] {
        if old.get(field) != new.get(field) {
            causes.push(Cause::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::stored;
    use super::*;

    fn deployment() -> Value {
        json!({
            "metadata": {"name": "web"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web"}]}}},
        })
    }

    fn message(old: Option<&Value>, object: &Value) -> String {
        check(stored("deployments"), old, object).unwrap_err().to_status()["message"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_good_deployment_is_taken() {
        check(stored("deployments"), Some(&deployment()), &deployment()).unwrap();
    }

    #[test]
    fn every_wrong_field_is_named() {
        let mut object = deployment();
        object["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
        object["spec"]["replicas"] = json!(-1);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("");
        let message = message(None, &object);
        for part in ["spec.replicas", "does not match template", "containers[0].image"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_selector_stays() {
        let mut object = deployment();
        object["spec"]["selector"]["matchLabels"]["tier"] = json!("a");
        object["spec"]["template"]["metadata"]["labels"]["tier"] = json!("a");
        assert!(message(Some(&deployment()), &object).contains("field is immutable"));
    }

    #[test]
    fn names_are_subdomains() {
        for (name, good) in [
            ("web", true),
            ("a.b-c", true),
            ("Web", false),
            ("-a", false),
            ("a..b", false),
            ("a_b", false),
        ] {
            assert_eq!(is_subdomain(name), good, "{name}");
        }
    }
}
