//! What is served: versions, groups, resources, health.

use serde_json::{Value, json};

use super::kinds::{Kind, Served};
use super::openapi;
use super::reply::Reply;
use super::request::Call;
use super::status::ApiError;

/// The version that clients are told.
pub(super) const VERSION: &str = "v1.33.4";

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Health and version, which need no token.
pub(super) fn open_to_all(call: &Call) -> Option<Reply> {
    let first = call.path.trim_matches('/').split('/').next().unwrap_or_default();
    match first {
        "healthz" | "livez" | "readyz" => Some(health(call, first)),
        "version" => Some(Reply::json(200, &version())),
        _ => None,
    }
}

fn health(call: &Call, check: &str) -> Reply {
    if call.query.get("verbose").is_some() {
        return Reply::text(200, format!("[+]ping ok\n[+]log ok\n{check} check passed\n"));
    }
    Reply::text(200, "ok")
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "emulationMajor": "1", "emulationMinor": "33", "gitVersion": VERSION,
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "2025-08-13T00:00:00Z", "goVersion": "",
        "compiler": "rustc", "platform": "linux/amd64",
    })
}

/// The rest of discovery.
pub(super) fn reply(served: &Served, call: &Call) -> Option<Result<Reply, ApiError>> {
    let parts: Vec<_> = call.path.trim_matches('/').split('/').collect();
    let value = match parts.as_slice() {
        [""] => paths(served),
        ["api" | "apis"] if wants_aggregated(call) => {
            let text = aggregated(served, parts[0] == "api").to_string();
            return Some(Ok(Reply::bytes(200, AGGREGATED, text)));
        }
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => group_list(served),
        ["apis", group] => served
            .groups()
            .into_iter()
            .find(|(name, _)| name == group)
            .map(|(name, versions)| grouped(name, &versions))?,
        ["api", version] => resources(served, "", version)?,
        ["apis", group, version] => resources(served, group, version)?,
        ["openapi", rest @ ..] => return openapi::reply(served, call, rest),
        _ => return None,
    };
    Some(Ok(Reply::json(200, &value)))
}

/// A group that is not served has not even an error of its own.
pub(super) fn no_such_path(served: &Served, call: &Call) -> Result<Reply, ApiError> {
    let parts: Vec<_> = call.path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api", version, ..] if resources(served, "", version).is_some() => Err(ApiError::no_such_path()),
        ["apis", group, version, ..] if resources(served, group, version).is_some() => Err(ApiError::no_such_path()),
        _ => Ok(Reply::text(404, "404 page not found\n")),
    }
}

fn wants_aggregated(call: &Call) -> bool {
    call.accept
        .split(',')
        .any(|part| part.contains("as=APIGroupDiscoveryList") && part.contains("v=v2;"))
}

fn paths(served: &Served) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in served.groups() {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.extend(
        [
            "/healthz",
            "/livez",
            "/openapi/v2",
            "/openapi/v3",
            "/readyz",
            "/version",
        ]
        .map(str::to_owned),
    );
    json!({"paths": paths})
}

fn group_list(served: &Served) -> Value {
    let groups: Vec<_> = served
        .groups()
        .iter()
        .map(|(name, versions)| {
            let mut group = grouped(name, versions);
            for field in ["kind", "apiVersion"] {
                super::object::remove(&mut group, &[field]);
            }
            group
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn grouped(name: &str, versions: &[&str]) -> Value {
    let listed = |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let versions: Vec<_> = versions.iter().map(listed).collect();
    json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": versions[0],
    })
}

fn resources(served: &Served, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in served.of_version(group, version) {
        resources.push(resource(kind));
        resources.extend(
            kind.subresources
                .iter()
                .map(|subresource| subresource_of(kind, subresource)),
        );
    }
    let name = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    (!resources.is_empty())
        .then(|| json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}))
}

fn resource(kind: &Kind) -> Value {
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular(), "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": VERBS,
    });
    if !kind.short.is_empty() {
        resource["shortNames"] = json!(kind.short);
    }
    if kind.in_all {
        resource["categories"] = json!(["all"]);
    }
    resource
}

fn subresource_of(kind: &Kind, subresource: &str) -> Value {
    let mut resource = json!({
        "name": format!("{}/{subresource}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
        "kind": kind.kind, "verbs": subresource_verbs(subresource),
    });
    if subresource == "scale" {
        resource["group"] = json!("autoscaling");
        resource["version"] = json!("v1");
        resource["kind"] = json!("Scale");
    }
    resource
}

fn subresource_verbs(subresource: &str) -> &'static [&'static str] {
    if subresource == "log" {
        &["get"]
    } else {
        &["get", "patch", "update"]
    }
}

fn aggregated(served: &Served, core: bool) -> Value {
    let groups = if core { vec![("", vec!["v1"])] } else { served.groups() };
    let items: Vec<_> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<_> = versions
                .iter()
                .map(|version| aggregated_version(served, group, version))
                .collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_version(served: &Served, group: &str, version: &str) -> Value {
    let resources: Vec<_> = served.of_version(group, version).map(aggregated_resource).collect();
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let own = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let subresources: Vec<_> = kind
        .subresources
        .iter()
        .map(|name| {
            let answer = if *name == "scale" {
                json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
            } else {
                own.clone()
            };
            json!({"subresource": name, "responseKind": answer, "verbs": subresource_verbs(name)})
        })
        .collect();
    let mut resource = json!({
        "resource": kind.plural, "responseKind": own, "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular(), "verbs": VERBS,
    });
    for (field, value) in [("shortNames", json!(kind.short)), ("subresources", json!(subresources))] {
        if value != json!([]) {
            resource[field] = value;
        }
    }
    if kind.in_all {
        resource["categories"] = json!(["all"]);
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::super::kinds::KINDS;
    use super::*;

    #[test]
    fn every_kind_is_discovered_both_ways() {
        let served = Served::built_in();
        let mut classic = 0;
        let mut new = 0;
        for (group, versions) in served.groups().into_iter().chain([("", vec!["v1"])]) {
            for version in versions {
                let list = resources(&served, group, version).unwrap();
                classic += list["resources"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|one| !one["name"].as_str().unwrap().contains('/'))
                    .count();
                new += aggregated_version(&served, group, version)["resources"]
                    .as_array()
                    .unwrap()
                    .len();
            }
        }
        assert_eq!((classic, new), (KINDS.len(), KINDS.len()));
    }
}
