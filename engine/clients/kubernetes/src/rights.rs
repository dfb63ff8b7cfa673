//! What the credentials may do in a cluster: the server is asked for their rules, and about each right that those do not
//! show.
//!
//! A right is written `VERB,VERB RESOURCE.GROUP`, with `/SUBRESOURCE` and the name of the one object after it where that is
//! all that is needed; `@` is the name of the namespace. It holds in the target's namespace, or in those that a step names, or,
//! with `cluster` before it, everywhere. `*` is each kind that an export keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jm_step::{Right, Rights, RunId, Standing, StepError};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec, SubjectRulesReviewStatus,
};
use kube::Api;
use kube::api::PostParams;

use crate::discovery::Discovery;
use crate::error::step_error;
use crate::reader::Reader;

mod policy;

/// What every run does first: it asks which cluster this is.
const WHICH_CLUSTER: &str = "cluster get namespaces kube-system";
/// What everybody may ask about himself.
const OF_ONESELF: [&str; 2] = ["authorization.k8s.io", "authentication.k8s.io"];

/// Where a right holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// In the target's namespace.
    Here,
    /// In another one.
    In(String),
    Everywhere,
}

/// A right on one kind of object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Allowed {
    scope: Scope,
    /// Empty for the core group.
    group: String,
    /// With its subresource, as RBAC has it: `pods/log`.
    resource: String,
    /// The one object that it is about; all where none is named.
    name: Option<String>,
    verb: String,
}

/// Whether this is a right as this module writes them.
pub(crate) fn is_known(right: &str) -> bool {
    let words: Vec<&str> = right.trim_start_matches("cluster ").split(' ').collect();
    let is_verb =
        |verb: &str| ["get", "list", "create", "update", "patch", "delete", "bind", "escalate"].contains(&verb);
    matches!(words.len(), 2 | 3) && words[0].split(',').all(is_verb) && words.iter().all(|word| !word.is_empty())
}

/// The rights in these words, one for each verb and kind.
fn read(right: &str, namespace: &str, scope: &Scope, discovery: &Discovery) -> Vec<Allowed> {
    let cluster = right.starts_with("cluster ");
    let scope = if cluster { &Scope::Everywhere } else { scope };
    let mut words = right.trim_start_matches("cluster ").split(' ');
    let (verbs, resource, name) = (words.next(), words.next(), words.next());
    let name = name.map(|name| if name == "@" { namespace } else { name }.to_owned());
    let resources: Vec<(String, String)> = match resource.unwrap_or_default() {
        "*" => discovery
            .preferred()
            .filter(|kind| kind.namespaced != cluster && kind.is_to_be_kept())
            .map(|kind| (kind.group.clone(), kind.plural.clone()))
            .collect(),
        one => {
            let (path, sub) = one.split_once('/').map_or((one, None), |(path, sub)| (path, Some(sub)));
            let (plural, group) = path.split_once('.').unwrap_or((path, ""));
            let resource = sub.map_or_else(|| plural.to_owned(), |sub| format!("{plural}/{sub}"));
            vec![(group.to_owned(), resource)]
        }
    };
    let verbs = verbs.unwrap_or_default().split(',');
    let each = verbs.flat_map(|verb| {
        resources
            .iter()
            .map(move |(group, resource)| (verb, group.clone(), resource.clone()))
    });
    each.map(|(verb, group, resource)| Allowed {
        scope: scope.clone(),
        group,
        resource,
        name: name.clone(),
        verb: verb.to_owned(),
    })
    .collect()
}

impl Reader {
    /// How it stands with the rights that are needed, and which others the credentials have.
    pub async fn rights(&self, needed: &Rights) -> Result<Vec<Right>, StepError> {
        let needed = self.needed(needed).await?;
        let rules = self.rules_by_scope(&needed).await?;
        let mut rights = Vec::new();
        for right in &needed {
            let of_scope = &rules[&right.scope].resource_rules;
            let held = of_scope.iter().any(|rule| allows(rule, right)) || self.may(right).await?;
            rights.push((right.clone(), held));
        }
        let mut all = told(&rights);
        let everywhere = &rules[&Scope::Everywhere].resource_rules;
        for (scope, of_scope) in &rules {
            let is_of_scope = |rule: &&ResourceRule| *scope == Scope::Everywhere || !everywhere.contains(rule);
            let own = of_scope.resource_rules.iter().filter(is_of_scope);
            all.extend(own.flat_map(|rule| beyond(rule, &needed, scope)));
        }
        if rules.values().any(|rules| rules.incomplete) {
            let why = "the API server does not tell all that it allows";
            all.push(Right::new("other rights", Standing::NotAsked).note(why));
        }
        Ok(all)
    }

    /// What is needed, kind by kind.
    async fn needed(&self, rights: &Rights) -> Result<BTreeSet<Allowed>, StepError> {
        let mut all = rights.iter().chain(rights.elsewhere().values().flatten());
        let discovery = if all.any(|right| right.ends_with(" *")) {
            self.discover().await?
        } else {
            Discovery::default()
        };
        let own = self.namespace();
        let here = rights.iter().copied().chain([WHICH_CLUSTER]);
        let mut needed: BTreeSet<Allowed> = here
            .flat_map(|right| read(right, own, &Scope::Here, &discovery))
            .collect();
        for (namespace, rights) in rights.elsewhere() {
            let scope = if namespace == own {
                Scope::Here
            } else {
                Scope::In(namespace.clone())
            };
            needed.extend(
                rights
                    .iter()
                    .flat_map(|right| read(right, namespace, &scope, &discovery)),
            );
        }
        Ok(needed)
    }

    /// The rules that hold here, everywhere, and wherever else something is needed.
    async fn rules_by_scope(
        &self,
        needed: &BTreeSet<Allowed>,
    ) -> Result<BTreeMap<Scope, SubjectRulesReviewStatus>, StepError> {
        let mut rules = BTreeMap::new();
        let scopes = needed.iter().map(|right| right.scope.clone());
        for scope in scopes.chain([Scope::Here, Scope::Everywhere]) {
            if rules.contains_key(&scope) {
                continue;
            }
            let of_scope = match &scope {
                Scope::Here => self.rules(self.namespace()).await?,
                Scope::In(namespace) => self.rules(namespace).await?,
                Scope::Everywhere => self.rules(&nowhere()).await?,
            };
            rules.insert(scope, of_scope);
        }
        Ok(rules)
    }

    /// The rules that hold in a namespace. In one that is not there, those that hold everywhere.
    async fn rules(&self, namespace: &str) -> Result<SubjectRulesReviewStatus, StepError> {
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec {
                namespace: Some(namespace.to_owned()),
            },
            ..SelfSubjectRulesReview::default()
        };
        let reviews: Api<SelfSubjectRulesReview> = Api::all(self.client().clone());
        match reviews.create(&PostParams::default(), &review).await {
            Ok(review) => Ok(review.status.unwrap_or_default()),
            // Each right is asked for by itself then.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(SubjectRulesReviewStatus {
                incomplete: true,
                ..SubjectRulesReviewStatus::default()
            }),
            Err(error) => Err(step_error("cannot ask which rights there are", error)),
        }
    }

    async fn may(&self, right: &Allowed) -> Result<bool, StepError> {
        let (resource, sub) = match right.resource.split_once('/') {
            Some((resource, sub)) => (resource, Some(sub.to_owned())),
            None => (right.resource.as_str(), None),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: match &right.scope {
                        Scope::Here => Some(self.namespace().to_owned()),
                        Scope::In(namespace) => Some(namespace.clone()),
                        Scope::Everywhere => None,
                    },
                    verb: Some(right.verb.clone()),
                    group: Some(right.group.clone()),
                    resource: Some(resource.to_owned()),
                    subresource: sub,
                    name: right.name.clone(),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client().clone());
        let review = reviews.create(&PostParams::default(), &review).await;
        let review = review.map_err(|error| step_error(&format!("cannot ask for the right to {right}"), error))?;
        Ok(review.status.is_some_and(|status| status.allowed))
    }
}

/// A namespace that nobody has.
fn nowhere() -> String {
    format!("jm-doctor-{}", RunId::generate())
}

/// Whether a list of a rule has a word, or all.
fn has(list: Option<&Vec<String>>, word: &str) -> bool {
    list.is_some_and(|list| list.iter().any(|one| one == "*" || one == word))
}

/// Whether a rule gives a right.
fn allows(rule: &ResourceRule, right: &Allowed) -> bool {
    let names = rule.resource_names.as_deref().unwrap_or_default();
    has(Some(&rule.verbs), &right.verb)
        && has(rule.api_groups.as_ref(), &right.group)
        && has(rule.resources.as_ref(), &right.resource)
        && (names.is_empty() || right.name.as_ref().is_some_and(|name| names.contains(name)))
}

/// What a rule gives beyond what is needed at its scope.
fn beyond(rule: &ResourceRule, needed: &BTreeSet<Allowed>, scope: &Scope) -> Vec<Right> {
    let none = Vec::new();
    let (groups, resources) = (rule.api_groups.as_ref(), rule.resources.as_ref());
    let names: Vec<Option<&String>> = match rule.resource_names.as_deref().unwrap_or_default() {
        [] => vec![None],
        names => names.iter().map(Some).collect(),
    };
    let mut excess = Vec::new();
    for group in groups.unwrap_or(&none) {
        for resource in resources.unwrap_or(&none) {
            let given = |verb: &&String, name: Option<&String>| {
                let is_it = |right: &Allowed| {
                    right.scope == *scope
                        && (&right.group, &right.resource, &right.verb) == (group, resource, *verb)
                        && (right.name.is_none() || right.name.as_ref() == name)
                };
                needed.iter().any(is_it)
                    || (resource.starts_with("selfsubject") && OF_ONESELF.contains(&group.as_str()))
            };
            let verbs = |name| rule.verbs.iter().filter(move |verb| !given(verb, name));
            for name in &names {
                let verbs: Vec<&str> = verbs(*name).map(String::as_str).collect();
                if !verbs.is_empty() {
                    excess.push(Right::new(
                        words(scope, &verbs.join(","), group, resource, *name),
                        Standing::Excess,
                    ));
                }
            }
        }
    }
    excess
}

/// The needed rights, those on one kind in one line.
fn told(rights: &[(Allowed, bool)]) -> Vec<Right> {
    let mut told: Vec<(Allowed, bool)> = Vec::new();
    for (right, held) in rights {
        match told.last_mut() {
            Some((last, stands)) if last.is_beside(right) && stands == held => {
                last.verb = format!("{},{}", last.verb, right.verb);
            }
            _ => told.push((right.clone(), *held)),
        }
    }
    told.iter()
        .map(|(right, held)| Right::needed(right.to_string(), *held))
        .collect()
}

impl Allowed {
    /// Whether the two differ in their verbs alone.
    fn is_beside(&self, other: &Self) -> bool {
        (&self.scope, &self.group, &self.resource, &self.name)
            == (&other.scope, &other.group, &other.resource, &other.name)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words(
            &self.scope,
            &self.verb,
            &self.group,
            &self.resource,
            self.name.as_ref(),
        ))
    }
}

fn words(scope: &Scope, verbs: &str, group: &str, resource: &str, name: Option<&String>) -> String {
    let place = match scope {
        Scope::Here => String::new(),
        Scope::In(namespace) => format!("in `{namespace}`: "),
        Scope::Everywhere => "cluster ".to_owned(),
    };
    let (plural, sub) = resource
        .split_once('/')
        .map_or((resource, None), |(plural, sub)| (plural, Some(sub)));
    let group = if group.is_empty() {
        String::new()
    } else {
        format!(".{group}")
    };
    let sub = sub.map_or_else(String::new, |sub| format!("/{sub}"));
    let name = name.map_or_else(String::new, |name| format!(" {name}"));
    format!("{place}{verbs} {plural}{group}{sub}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> ResourceRule {
        let owned = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        ResourceRule {
            verbs: owned(verbs),
            api_groups: Some(owned(groups)),
            resources: Some(owned(resources)),
            resource_names: Some(owned(names)),
        }
    }

    fn needed(rights: &[&str]) -> BTreeSet<Allowed> {
        let read = |right: &&str| read(right, "app", &Scope::Here, &Discovery::default());
        rights.iter().flat_map(read).collect()
    }

    #[test]
    fn a_rule_gives_what_it_names_and_no_more() {
        let of = |right: &str| needed(&[right]).pop_first().expect("one");
        let named = rule(&["get"], &[""], &["namespaces"], &["kube-system"]);
        assert!(allows(&named, &of("cluster get namespaces kube-system")));
        assert!(!allows(&named, &of("get namespaces @")));
        let all = rule(&["*"], &["*"], &["*"], &[]);
        assert!(allows(&all, &of("get pods/log")) && allows(&all, &of("patch deployments.apps")));
        let pods = rule(&["get", "list"], &[""], &["pods"], &[]);
        assert!(!allows(&pods, &of("get pods/log")) && !allows(&pods, &of("patch pods")));
    }

    #[test]
    fn what_nobody_needs_is_told_by_verb_kind_and_scope() {
        let needed = needed(&["get,list pods", "cluster get namespaces kube-system"]);
        let told = |rule: &ResourceRule, is_everywhere: bool| -> Vec<String> {
            let scope = if is_everywhere { Scope::Everywhere } else { Scope::Here };
            beyond(rule, &needed, &scope)
                .into_iter()
                .map(|right| right.right)
                .collect()
        };
        let pods = rule(&["get", "list", "watch"], &[""], &["pods", "pods/exec"], &[]);
        assert_eq!(told(&pods, false), ["watch pods", "get,list,watch pods/exec"]);
        assert_eq!(
            told(&pods, true)[0],
            "cluster get,list,watch pods",
            "another namespace's"
        );
        let named = rule(&["get"], &[""], &["namespaces"], &["kube-system", "other"]);
        assert_eq!(told(&named, true), ["cluster get namespaces other"]);
        assert_eq!(told(&rule(&["*"], &["*"], &["*"], &[]), true), ["cluster * *.*"]);
        let oneself = rule(
            &["create"],
            &["authorization.k8s.io"],
            &["selfsubjectaccessreviews"],
            &[],
        );
        assert!(told(&oneself, true).is_empty());
    }

    #[test]
    fn what_is_needed_in_another_namespace_is_not_needed_here() {
        let other = Scope::In("other".to_owned());
        let mut needed: BTreeSet<Allowed> = read("list pods", "other", &other, &Discovery::default())
            .into_iter()
            .collect();
        let pods = rule(&["list"], &[""], &["pods"], &[]);
        assert!(beyond(&pods, &needed, &other).is_empty());
        assert_eq!(beyond(&pods, &needed, &Scope::Here)[0].right, "list pods");
        let own = read("get namespaces @", "other", &other, &Discovery::default());
        assert_eq!(own[0].to_string(), "in `other`: get namespaces other");
        needed.extend(read("cluster list nodes", "other", &other, &Discovery::default()));
        let scopes: Vec<&Scope> = needed.iter().map(|right| &right.scope).collect();
        assert_eq!(scopes, [&other, &Scope::Everywhere]);
    }

    #[test]
    fn rights_are_read_as_they_are_told() {
        for right in [
            "get pods/log",
            "cluster list nodes",
            "get deployments.apps/scale",
            "get namespaces app",
        ] {
            assert!(is_known(right), "{right}");
            assert_eq!(needed(&[right]).pop_first().expect("one").to_string(), right);
        }
        assert!(!is_known("s3:GetObject") && !is_known("fetch pods") && !is_known("get"));
        let two = needed(&["get,patch deployments.apps"])
            .into_iter()
            .map(|right| (right, true));
        assert_eq!(told(&two.collect::<Vec<_>>())[0].right, "get,patch deployments.apps");
    }
}
