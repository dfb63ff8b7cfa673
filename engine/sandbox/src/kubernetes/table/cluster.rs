//! The columns of settings and of what belongs to the cluster.

use serde_json::{Value, json};

use super::super::object::{self, items, map, number};
use super::{Column, age, count, name, or_none, since, text, wide};

pub(super) static PLAIN: &[Column] = &[text("Name", name), text("Age", age)];

pub(super) static DEFINITIONS: &[Column] = &[
    text("Name", name),
    text("Created At", |object| {
        json!(object::text(object, "/metadata/creationTimestamp"))
    }),
];

fn entries(object: &Value) -> Value {
    let size = |pointer: &str| map(object, pointer).map_or(0, serde_json::Map::len);
    json!(size("/data") + size("/binaryData"))
}

pub(super) static CONFIG_MAPS: &[Column] = &[text("Name", name), count("Data", entries), text("Age", age)];

pub(super) static SECRETS: &[Column] = &[
    text("Name", name),
    text("Type", |object| json!(object::text(object, "/type"))),
    count("Data", entries),
    text("Age", age),
];

pub(super) static SERVICE_ACCOUNTS: &[Column] = &[
    text("Name", name),
    count("Secrets", |object| json!(items(object, "/secrets").len())),
    text("Age", age),
];

pub(super) static NAMESPACES: &[Column] = &[
    text("Name", name),
    text("Status", |object| json!(object::text(object, "/status/phase"))),
    text("Age", age),
];

pub(super) static NODES: &[Column] = &[
    text("Name", name),
    text("Status", |object| json!(node_status(object))),
    text("Roles", |object| or_none(&node_roles(object))),
    text("Age", age),
    text("Version", |object| {
        json!(object::text(object, "/status/nodeInfo/kubeletVersion"))
    }),
    wide("Internal-IP", |object| or_none(node_address(object))),
    wide("External-IP", |_| json!("<none>")),
    wide("OS-Image", |object| {
        json!(object::text(object, "/status/nodeInfo/osImage"))
    }),
    wide("Kernel-Version", |object| {
        json!(object::text(object, "/status/nodeInfo/kernelVersion"))
    }),
    wide("Container-Runtime", |object| {
        json!(object::text(object, "/status/nodeInfo/containerRuntimeVersion"))
    }),
];

fn node_status(node: &Value) -> String {
    let ready = items(node, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == "Ready");
    let word = match ready.and_then(|condition| condition["status"].as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if node["spec"]["unschedulable"] == json!(true) {
        format!("{word},SchedulingDisabled")
    } else {
        word.to_owned()
    }
}

fn node_roles(node: &Value) -> String {
    let labels = map(node, "/metadata/labels").into_iter().flatten();
    labels
        .filter_map(|(label, _)| label.strip_prefix("node-role.kubernetes.io/"))
        .collect::<Vec<_>>()
        .join(",")
}

fn node_address(node: &Value) -> &str {
    let internal = items(node, "/status/addresses")
        .iter()
        .find(|address| address["type"] == "InternalIP");
    internal
        .and_then(|address| address["address"].as_str())
        .unwrap_or_default()
}

pub(super) static EVENTS: &[Column] = &[
    text("Last Seen", |event| json!(since(object::text(event, "/lastTimestamp")))),
    text("Type", |event| json!(object::text(event, "/type"))),
    text("Reason", |event| json!(object::text(event, "/reason"))),
    text("Object", |event| {
        let about = &event["involvedObject"];
        json!(format!(
            "{}/{}",
            object::text(about, "/kind").to_lowercase(),
            object::text(about, "/name")
        ))
    }),
    wide("Subobject", |event| {
        json!(object::text(event, "/involvedObject/fieldPath"))
    }),
    wide("Source", |event| json!(object::text(event, "/source/component"))),
    text("Message", |event| json!(object::text(event, "/message"))),
    wide("First Seen", |event| {
        json!(since(object::text(event, "/firstTimestamp")))
    }),
    wide("Count", |event| json!(number(event, "/count").max(1).to_string())),
    wide("Name", name),
];

pub(super) static CLAIMS: &[Column] = &[
    text("Name", name),
    text("Status", |object| json!(object::text(object, "/status/phase"))),
    text("Volume", |object| json!(object::text(object, "/spec/volumeName"))),
    text("Capacity", |object| {
        json!(object::text(object, "/status/capacity/storage"))
    }),
    text("Access Modes", |object| json!(access_modes(object))),
    text("StorageClass", |object| {
        json!(object::text(object, "/spec/storageClassName"))
    }),
    text("VolumeAttributesClass", |_| json!("<unset>")),
    text("Age", age),
    wide("VolumeMode", |object| json!(object::text(object, "/spec/volumeMode"))),
];

fn access_modes(claim: &Value) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "?",
    };
    items(claim, "/status/accessModes")
        .iter()
        .map(short)
        .collect::<Vec<_>>()
        .join(",")
}

pub(super) static STORAGE_CLASSES: &[Column] = &[
    text("Name", |object| {
        let annotations = map(object, "/metadata/annotations");
        let usual = annotations.and_then(|all| all.get("storageclass.kubernetes.io/is-default-class"));
        let mark = if usual == Some(&json!("true")) {
            " (default)"
        } else {
            ""
        };
        json!(format!("{}{mark}", object::name(object)))
    }),
    text("Provisioner", |object| json!(object::text(object, "/provisioner"))),
    text("ReclaimPolicy", |object| json!(object::text(object, "/reclaimPolicy"))),
    text("VolumeBindingMode", |object| {
        json!(object::text(object, "/volumeBindingMode"))
    }),
    text("AllowVolumeExpansion", |object| {
        json!(object["allowVolumeExpansion"] == json!(true))
    }),
    text("Age", age),
];

pub(super) static ROLES: &[Column] = &[
    text("Name", name),
    Column {
        name: "Created At",
        of_type: "date",
        wide: false,
        cell: |object| json!(object::text(object, "/metadata/creationTimestamp")),
    },
];

pub(super) static BINDINGS: &[Column] = &[
    text("Name", name),
    text("Role", |object| {
        json!(format!(
            "{}/{}",
            object::text(object, "/roleRef/kind"),
            object::text(object, "/roleRef/name")
        ))
    }),
    text("Age", age),
];

pub(super) static LEASES: &[Column] = &[
    text("Name", name),
    text("Holder", |object| json!(object::text(object, "/spec/holderIdentity"))),
    text("Age", age),
];
