//! The roles that give what is needed, bound to an account of their own.

use std::collections::BTreeMap;

use jm_step::{Policy, PolicyForm, Rights, StepError};

use super::Allowed;
use crate::reader::Reader;

/// What one rule of a role has in common: verbs, group and name.
type Shared<'a> = (Vec<&'a str>, &'a str, Option<&'a str>);

impl Reader {
    /// An account with this name, and the roles that give it these rights.
    pub async fn policy_for(&self, needed: &Rights, account: &str) -> Result<Policy, StepError> {
        let needed = self.needed(needed).await?;
        let of_scope = |cluster: bool| {
            needed
                .iter()
                .filter(move |right| right.cluster == cluster)
                .collect::<Vec<_>>()
        };
        let namespace = self.namespace();
        let mut text =
            format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: {account}, namespace: {namespace} }}\n");
        let (here, everywhere) = (of_scope(false), of_scope(true));
        if !here.is_empty() {
            text += &role("Role", &format!("name: {account}, namespace: {namespace}"), &here);
            text += &binding(
                "Role",
                &format!("name: {account}, namespace: {namespace}"),
                account,
                namespace,
            );
        }
        // A namespace's account in the name: what has none must not meet that of another namespace.
        let name = format!("{namespace}-{account}");
        text += &role("ClusterRole", &format!("name: {name}"), &everywhere);
        text += &binding("ClusterRole", &format!("name: {name}"), account, namespace);
        Ok(Policy {
            form: PolicyForm::Rbac,
            text,
        })
    }
}

fn role(kind: &str, metadata: &str, rights: &[&Allowed]) -> String {
    let mut text =
        format!("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{ {metadata} }}\nrules:\n");
    for ((verbs, group, name), resources) in rules(rights) {
        let names = name.map_or_else(String::new, |name| format!(", resourceNames: {}", list(&[name])));
        text += &format!(
            "  - {{ apiGroups: {}, resources: {}{names}, verbs: {} }}\n",
            list(&[group]),
            list(&resources),
            list(&verbs)
        );
    }
    text
}

/// Kinds of one group to which the same may be done stand in one rule.
fn rules<'a>(rights: &[&'a Allowed]) -> BTreeMap<Shared<'a>, Vec<&'a str>> {
    let mut verbs: BTreeMap<(&str, &str, Option<&str>), Vec<&str>> = BTreeMap::new();
    for right in rights {
        let kind = (right.group.as_str(), right.resource.as_str(), right.name.as_deref());
        verbs.entry(kind).or_default().push(&right.verb);
    }
    let mut rules: BTreeMap<Shared<'_>, Vec<&str>> = BTreeMap::new();
    for ((group, resource, name), verbs) in verbs {
        rules.entry((verbs, group, name)).or_default().push(resource);
    }
    rules
}

fn binding(kind: &str, metadata: &str, account: &str, namespace: &str) -> String {
    let role = metadata.split(',').next().unwrap_or_default();
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\nmetadata: {{ {metadata} }}\n\
         roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: {kind}, {role} }}\n\
         subjects: [{{ kind: ServiceAccount, name: {account}, namespace: {namespace} }}]\n"
    )
}

fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
