//! The columns of what leads to pods.

use serde_json::{Value, json};

use super::super::object::{self, items, number};
use super::super::selectors::Labels;
use super::{Column, age, labels_text, name, or_none, text, wide};

pub(super) static SERVICES: &[Column] = &[
    text("Name", name),
    text("Type", |object| json!(object::text(object, "/spec/type"))),
    text("Cluster-IP", |object| or_none(object::text(object, "/spec/clusterIP"))),
    text("External-IP", |object| match object::text(object, "/spec/type") {
        "LoadBalancer" => json!("<pending>"),
        _ => or_none(object::text(object, "/spec/externalName")),
    }),
    text("Port(s)", |object| or_none(&ports(object))),
    text("Age", age),
    wide("Selector", |object| labels_text(&object["spec"]["selector"])),
];

fn ports(service: &Value) -> String {
    let one = |port: &Value| {
        let outside = port["nodePort"]
            .as_i64()
            .map(|outside| format!(":{outside}"))
            .unwrap_or_default();
        format!("{}{outside}/{}", number(port, "/port"), object::text(port, "/protocol"))
    };
    items(service, "/spec/ports")
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(",")
}

pub(super) static ENDPOINTS: &[Column] = &[
    text("Name", name),
    text("Endpoints", |object| or_none(&addresses(object))),
    text("Age", age),
];

fn addresses(endpoints: &Value) -> String {
    let mut all = Vec::new();
    for subset in items(endpoints, "/subsets") {
        for address in items(subset, "/addresses") {
            let ip = object::text(address, "/ip");
            all.extend(
                items(subset, "/ports")
                    .iter()
                    .map(|port| format!("{ip}:{}", number(port, "/port"))),
            );
        }
    }
    match all.len() {
        0..=3 => all.join(","),
        more => format!("{} + {} more...", all[..3].join(","), more - 3),
    }
}

pub(super) static SLICES: &[Column] = &[
    text("Name", name),
    text("AddressType", |object| json!(object::text(object, "/addressType"))),
    text("Ports", |object| or_none(&slice_ports(object))),
    text("Endpoints", |object| or_none(&slice_addresses(object))),
    text("Age", age),
];

fn slice_ports(slice: &Value) -> String {
    items(slice, "/ports")
        .iter()
        .map(|port| number(port, "/port").to_string())
        .collect::<Vec<_>>()
        .join(",")
}

fn slice_addresses(slice: &Value) -> String {
    let all: Vec<_> = items(slice, "/endpoints")
        .iter()
        .filter_map(|one| one["addresses"][0].as_str())
        .collect();
    match all.len() {
        0..=3 => all.join(","),
        more => format!("{} + {} more...", all[..3].join(","), more - 3),
    }
}

pub(super) static INGRESSES: &[Column] = &[
    text("Name", name),
    text("Class", |object| {
        or_none(object::text(object, "/spec/ingressClassName"))
    }),
    text("Hosts", |object| {
        let hosts: Vec<_> = items(object, "/spec/rules")
            .iter()
            .filter_map(|rule| rule["host"].as_str())
            .collect();
        json!(if hosts.is_empty() {
            "*".to_owned()
        } else {
            hosts.join(",")
        })
    }),
    text("Address", |_| json!("")),
    text("Ports", |object| {
        json!(if items(object, "/spec/tls").is_empty() {
            "80"
        } else {
            "80, 443"
        })
    }),
    text("Age", age),
];

pub(super) static NETWORK_POLICIES: &[Column] = &[
    text("Name", name),
    text("Pod-Selector", |object| {
        or_none(&Labels::of_object(&object["spec"]["podSelector"]).to_text())
    }),
    text("Age", age),
];
