//! Tables: the columns that `kubectl get` prints.

mod cluster;
mod pods;
mod services;
mod workloads;

use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::Kind;
use super::object;

/// One column.
pub(super) struct Column {
    name: &'static str,
    /// `string`, `integer` or `date`.
    of_type: &'static str,
    /// Printed only with `-o wide`.
    wide: bool,
    cell: fn(&Value) -> Value,
}

const fn text(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column {
        name,
        of_type: "string",
        wide: false,
        cell,
    }
}

const fn count(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column {
        name,
        of_type: "integer",
        wide: false,
        cell,
    }
}

const fn wide(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column {
        name,
        of_type: "string",
        wide: true,
        cell,
    }
}

/// What a row carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    Nothing,
    Metadata,
    Object,
}

/// The table of some objects of a kind.
pub(super) fn of(kind: &Kind, objects: &[Arc<Value>], include: Include, metadata: Value) -> Value {
    let columns = columns(kind);
    let definitions = columns.iter().map(|column| {
        let format = if column.name == "Name" { "name" } else { "" };
        json!({
            "name": column.name, "type": column.of_type, "format": format, "description": "",
            "priority": i32::from(column.wide),
        })
    });
    let rows = objects.iter().map(|object| row(columns, object, include));
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions.collect::<Vec<_>>(), "rows": rows.collect::<Vec<_>>(),
    })
}

fn row(columns: &[Column], object: &Value, include: Include) -> Value {
    let cells: Vec<_> = columns.iter().map(|column| (column.cell)(object)).collect();
    let mut row = json!({"cells": cells});
    match include {
        Include::Nothing => {}
        Include::Metadata => {
            row["object"] = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
            });
        }
        Include::Object => row["object"] = object.clone(),
    }
    row
}

fn columns(kind: &Kind) -> &'static [Column] {
    if kind.custom {
        return cluster::PLAIN;
    }
    match kind.plural {
        "pods" => pods::PODS,
        "deployments" => workloads::DEPLOYMENTS,
        "replicasets" => workloads::REPLICA_SETS,
        "statefulsets" => workloads::STATEFUL_SETS,
        "daemonsets" => workloads::DAEMON_SETS,
        "jobs" => workloads::JOBS,
        "cronjobs" => workloads::CRON_JOBS,
        "horizontalpodautoscalers" => workloads::AUTOSCALERS,
        "poddisruptionbudgets" => workloads::DISRUPTION_BUDGETS,
        "services" => services::SERVICES,
        "endpoints" => services::ENDPOINTS,
        "ingresses" => services::INGRESSES,
        "networkpolicies" => services::NETWORK_POLICIES,
        "configmaps" => cluster::CONFIG_MAPS,
        "secrets" => cluster::SECRETS,
        "serviceaccounts" => cluster::SERVICE_ACCOUNTS,
        "namespaces" => cluster::NAMESPACES,
        "nodes" => cluster::NODES,
        "events" if kind.group.is_empty() => cluster::EVENTS,
        "persistentvolumeclaims" => cluster::CLAIMS,
        "storageclasses" => cluster::STORAGE_CLASSES,
        "customresourcedefinitions" => cluster::DEFINITIONS,
        "roles" | "clusterroles" => cluster::ROLES,
        "rolebindings" | "clusterrolebindings" => cluster::BINDINGS,
        "leases" => cluster::LEASES,
        "controllerrevisions" => workloads::REVISIONS,
        "endpointslices" => services::SLICES,
        _ => cluster::PLAIN,
    }
}

fn name(object: &Value) -> Value {
    json!(object::name(object))
}

fn age(object: &Value) -> Value {
    json!(since(object::text(object, "/metadata/creationTimestamp")))
}

fn or_none(text: &str) -> Value {
    json!(if text.is_empty() { "<none>" } else { text })
}

/// The time since a moment, as `kubectl` writes it.
fn since(time: &str) -> String {
    let Ok(then) = time.parse::<jiff::Timestamp>() else {
        return "<unknown>".to_owned();
    };
    human(jm_step::clock::now().as_second() - then.as_second())
}

/// Seconds as `45s`, `3m20s`, `15m`, `5h`, `2d3h`, `40d`.
fn human(seconds: i64) -> String {
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        i64::MIN..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        _ => two(days / 365, "y", days % 365, "d"),
    }
}

/// Names of containers, and their images, of a pod's spec at a pointer.
fn of_containers(object: &Value, pointer: &str, field: &str) -> Value {
    let containers = object::items(object, &format!("{pointer}/containers"));
    json!(
        containers
            .iter()
            .filter_map(|one| one[field].as_str())
            .collect::<Vec<_>>()
            .join(",")
    )
}

/// `a=1,b=2`, or `<none>`.
fn labels_text(labels: &Value) -> Value {
    or_none(&super::selectors::Labels::of_map(labels).to_text())
}

#[cfg(test)]
mod tests {
    use super::super::kinds::KINDS;
    use super::*;

    #[test]
    fn times_read_as_kubectl_writes_them() {
        for (seconds, text) in [
            (45, "45s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (900, "15m"),
            (12_060, "3h21m"),
            (90_000, "25h"),
            (180_000, "2d2h"),
            (3_500_000, "40d"),
            (-3, "0s"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }

    #[test]
    fn every_kind_has_a_table_for_an_empty_object() {
        for kind in KINDS {
            let table = of(
                kind,
                &[Arc::new(json!({"metadata": {"name": "a"}}))],
                Include::Metadata,
                json!({}),
            );
            let columns = table["columnDefinitions"].as_array().unwrap().len();
            assert_eq!(
                table["rows"][0]["cells"].as_array().unwrap().len(),
                columns,
                "{}",
                kind.kind
            );
        }
    }
}
