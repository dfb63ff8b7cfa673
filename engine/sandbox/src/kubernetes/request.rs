//! What is asked for: path, query and headers, taken apart.

use http::{HeaderMap, Method, Uri, header};
use percent_encoding::percent_decode_str;

use super::kinds::Kind;
use super::pki::User;
use super::selectors::{Fields, Labels};
use super::status::ApiError;

/// One request, without its body.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) raw_query: String,
    pub(super) query: Query,
    pub(super) user: Option<User>,
    pub(super) agent: String,
    pub(super) accept: String,
    pub(super) content_type: String,
    /// Does the body of a deletion ask that nothing be changed?
    pub(super) dry_body: bool,
}

impl Call {
    pub(super) fn new(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let raw_query = uri.query().unwrap_or_default().to_owned();
        Self {
            method: method.clone(),
            path: uri.path().to_owned(),
            query: Query::parse(&raw_query),
            raw_query,
            user: None,
            agent: text(header::USER_AGENT),
            accept: text(header::ACCEPT),
            content_type: text(header::CONTENT_TYPE),
            dry_body: false,
        }
    }

    /// Is nothing to be changed?
    pub(super) fn is_dry_run(&self) -> bool {
        self.query.get("dryRun") == Some("All") || self.dry_body
    }

    /// The name under which fields are held: as asked for, or the program's.
    pub(super) fn manager(&self) -> &str {
        let given = self.query.get("fieldManager").filter(|name| !name.is_empty());
        let program = self.agent.split('/').next().filter(|name| !name.is_empty());
        given.or(program).unwrap_or("unknown")
    }

    /// What objects must be to be listed, watched or deleted together.
    pub(super) fn selection(&self, target: &Target) -> Result<Selection, ApiError> {
        let labels = Labels::parse(self.query.get("labelSelector").unwrap_or_default())?;
        let mut fields = Fields::parse(self.query.get("fieldSelector").unwrap_or_default())?;
        if let Some(name) = &target.name {
            fields = fields.and(Fields::name(name));
        }
        Ok(Selection { labels, fields })
    }

    /// Is the answer to be a stream of changes?
    pub(super) fn is_watch(&self) -> bool {
        self.method == Method::GET && self.query.flag("watch")
    }

    /// The form in which the answer is wanted.
    pub(super) fn form(&self) -> Result<Form, ApiError> {
        if self.accept.is_empty() {
            return Ok(Form::Whole);
        }
        let wanted = self.accept.split(',').find_map(|part| Form::of(part.trim()));
        wanted.ok_or_else(|| ApiError::not_acceptable(&self.accept))
    }
}

/// What objects must be.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    labels: Labels,
    fields: Fields,
}

impl Selection {
    pub(super) fn takes(&self, object: &serde_json::Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    /// Columns to print.
    Table,
    /// Metadata alone.
    Metadata,
}

impl Form {
    fn of(part: &str) -> Option<Self> {
        let mut words = part.split(';').map(str::trim);
        let media = words.next()?;
        if !["application/json", "application/*", "*/*"].contains(&media) {
            return None;
        }
        match words.find_map(|word| word.strip_prefix("as=")) {
            Some("Table") => Some(Self::Table),
            Some(name) if name.starts_with("PartialObjectMetadata") => Some(Self::Metadata),
            Some(_) => None,
            None => Some(Self::Whole),
        }
    }
}

/// The parameters behind the question mark.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        let decode = |part: &str| {
            percent_decode_str(&part.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    /// A whole number, where there is one.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => {
                let number = text
                    .parse()
                    .map_err(|_| ApiError::bad_request(format!("invalid {name}: {text:?}")))?;
                Ok(Some(number))
            }
        }
    }
}

/// The resource that a path names.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) kind: &'static Kind,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: String,
}

impl Target {
    /// The resource behind a path such as `/apis/apps/v1/namespaces/default/deployments/web/scale`.
    ///
    /// `find` knows the kind behind a group, a version and a resource.
    pub(super) fn parse(path: &str, find: impl FnOnce(&str, &str, &str) -> Option<&'static Kind>) -> Option<Self> {
        let parts: Vec<_> = path.trim_matches('/').split('/').map(decoded).collect();
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", name, resource, more @ ..] if !["status", "finalize"].contains(resource) => {
                (Some((*name).to_owned()), [&[*resource], more].concat())
            }
            _ => (None, rest.to_vec()),
        };
        let (resource, more) = rest.split_first()?;
        let kind = find(group, version, resource).filter(|kind| kind.namespaced || namespace.is_none())?;
        let (name, subresource) = match more {
            [] => (None, ""),
            [name] => (Some((*name).to_owned()), ""),
            [name, subresource] if kind.has(subresource) => (Some((*name).to_owned()), *subresource),
            _ => return None,
        };
        if name.is_some() && kind.namespaced && namespace.is_none() {
            return None;
        }
        Some(Self {
            kind,
            namespace,
            name,
            subresource: subresource.to_owned(),
        })
    }

    /// The verb of the audit trail and of access rules.
    pub(super) fn verb(&self, call: &Call) -> &'static str {
        match (&call.method, self.name.is_some()) {
            (&Method::GET | &Method::HEAD, _) if call.is_watch() => "watch",
            (&Method::GET | &Method::HEAD, true) => "get",
            (&Method::GET | &Method::HEAD, false) => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, true) => "delete",
            (&Method::DELETE, false) => "deletecollection",
            _ => "other",
        }
    }

    pub(super) fn key(&self) -> super::store::Key {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        super::store::Key::new(self.kind.stored_as, namespace, self.name.as_deref().unwrap_or_default())
    }
}

fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> Option<(String, Option<String>, Option<String>, String)> {
        Target::parse(path, super::super::kinds::find).map(|target| {
            (
                target.kind.resource(),
                target.namespace,
                target.name,
                target.subresource,
            )
        })
    }

    #[test]
    fn paths() {
        assert_eq!(
            parts("/apis/apps/v1/namespaces/a/deployments/web/scale"),
            Some((
                "deployments.apps".into(),
                Some("a".to_owned()),
                Some("web".to_owned()),
                "scale".into()
            ))
        );
        assert_eq!(
            parts("/api/v1/namespaces/a"),
            Some(("namespaces".into(), None, Some("a".to_owned()), String::new()))
        );
        assert_eq!(
            parts("/api/v1/namespaces/a/status"),
            Some(("namespaces".into(), None, Some("a".to_owned()), "status".into()))
        );
        assert_eq!(
            parts("/api/v1/namespaces/a/pods"),
            Some(("pods".into(), Some("a".to_owned()), None, String::new()))
        );
        assert_eq!(parts("/api/v1/pods"), Some(("pods".into(), None, None, String::new())));
        for path in [
            "/api/v1/nothing",
            "/api/v1/namespaces/a/nodes",
            "/apis/apps/v2/deployments",
            "/api/v1/pods/a",
            "/api",
        ] {
            assert_eq!(parts(path), None, "{path}");
        }
    }

    #[test]
    fn forms_and_queries() {
        let uri = "/api/v1/pods?watch=1&labelSelector=app%3Dweb%2Cx&limit=5"
            .parse()
            .unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            "application/vnd.kubernetes.protobuf,application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
                .parse()
                .unwrap(),
        );
        headers.insert(header::USER_AGENT, "kubectl/v1.32 (linux)".parse().unwrap());
        let call = Call::new(&Method::GET, &uri, &headers);
        assert!(call.is_watch());
        assert_eq!(call.form().unwrap(), Form::Table);
        assert_eq!(call.query.get("labelSelector"), Some("app=web,x"));
        assert_eq!(call.query.number("limit").unwrap(), Some(5));
        assert_eq!(call.manager(), "kubectl");
    }
}
