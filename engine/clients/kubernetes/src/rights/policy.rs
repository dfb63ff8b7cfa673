//! The roles that give what is needed, bound to an account of their own.

use std::collections::BTreeMap;

use jm_step::{Policy, PolicyForm, Rights, StepError};

use super::{Allowed, Scope};
use crate::reader::Reader;

/// What one rule of a role has in common: verbs, group and name.
type Shared<'a> = (Vec<&'a str>, &'a str, Option<&'a str>);

impl Reader {
    /// An account with this name, and the roles that give it these rights.
    pub async fn policy_for(&self, needed: &Rights, account: &str) -> Result<Policy, StepError> {
        let needed = self.needed(needed).await?;
        let mut by_scope: BTreeMap<&Scope, Vec<&Allowed>> = BTreeMap::new();
        for right in &needed {
            by_scope.entry(&right.scope).or_default().push(right);
        }
        let namespace = self.namespace();
        let mut text = vec![format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: {account}, namespace: {namespace} }}\n"
        )];
        for (scope, rights) in by_scope {
            let (kind, metadata) = match scope {
                Scope::Here => ("Role", format!("name: {account}, namespace: {namespace}")),
                // The account's namespace stands in the name: another one's account is another.
                Scope::In(other) => ("Role", format!("name: {namespace}-{account}, namespace: {other}")),
                Scope::Everywhere => ("ClusterRole", format!("name: {namespace}-{account}")),
            };
            text.push(role(kind, &metadata, &rights));
            text.push(binding(kind, &metadata, account, namespace));
        }
        Ok(Policy {
            form: PolicyForm::Rbac,
            text: text.concat(),
        })
    }
}

fn role(kind: &str, metadata: &str, rights: &[&Allowed]) -> String {
    let head =
        format!("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{ {metadata} }}\nrules:\n");
    let rules = rules(rights).into_iter().map(|((verbs, group, name), resources)| {
        let names = name.map_or_else(String::new, |name| format!(", resourceNames: {}", list(&[name])));
        format!(
            "  - {{ apiGroups: {}, resources: {}{names}, verbs: {} }}\n",
            list(&[group]),
            list(&resources),
            list(&verbs)
        )
    });
    std::iter::once(head).chain(rules).collect()
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
