//! Objects as they are before they are applied. Where many of one kind are to be applied they are listed at once; what
//! is kept of a list is bounded, and what is not kept is asked for again when it is needed.

use std::collections::{BTreeMap, BTreeSet};

use jm_client_kubernetes::{ObjectKey, Reader, ResourceKind};
use jm_step::{StepError, StepErrorKind};
use serde_json::Value;

/// From so many objects of a kind on, a list costs less than asking for each.
const WORTH_A_LIST: usize = 8;
/// What all lists together keep, in bytes of text.
const BUDGET: usize = 32 << 20;

/// What is known of an object.
#[derive(Debug, Clone)]
pub(super) enum Prior {
    /// It is not there.
    Absent,
    /// It is like this.
    Known(Box<Value>),
    /// It has to be asked for.
    Ask,
}

type Place = (ResourceKind, Option<String>);
/// API version, kind and namespace.
type PlaceName = (String, String, Option<String>);
/// The objects of a place, by name; none where the place has no such object.
type Listed = BTreeMap<String, Option<Box<Value>>>;

/// Lists of what was there.
#[derive(Default)]
pub(super) struct Priors {
    lists: BTreeMap<PlaceName, Listed>,
    kept: usize,
}

impl Priors {
    /// Lists the kinds of which many objects are asked for.
    pub(super) async fn learn<'k>(
        &mut self,
        reader: &Reader,
        wanted: impl Iterator<Item = (&'k ResourceKind, &'k ObjectKey)>,
    ) -> Result<(), StepError> {
        let mut counts: BTreeMap<PlaceName, (Place, BTreeSet<String>)> = BTreeMap::new();
        for (kind, key) in wanted {
            let place = (kind.api_version(), kind.kind.clone(), key.namespace.clone());
            let entry = counts
                .entry(place)
                .or_insert_with(|| ((kind.clone(), key.namespace.clone()), BTreeSet::new()));
            entry.1.insert(key.name.clone());
        }
        for (place, ((kind, namespace), names)) in counts {
            if names.len() < WORTH_A_LIST || self.lists.contains_key(&place) || !kind.can("list") {
                continue;
            }
            match self.list(reader, &kind, namespace.as_deref()).await {
                Ok(list) => drop(self.lists.insert(place, list)),
                // Who may get each object and not list them is asked to do no more.
                Err(error) if error.kind() == StepErrorKind::Denied => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn list(
        &mut self,
        reader: &Reader,
        kind: &ResourceKind,
        namespace: Option<&str>,
    ) -> Result<Listed, StepError> {
        let mut list = BTreeMap::new();
        let mut pages = reader.pages(kind, namespace);
        while let Some(objects) = pages.next().await? {
            for object in objects {
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let size = weight(&object);
                let kept = (self.kept + size <= BUDGET).then(|| Box::new(object));
                self.kept += kept.as_ref().map_or(0, |_| size);
                list.insert(name, kept);
            }
        }
        Ok(list)
    }

    /// What is known of an object.
    pub(super) fn of(&self, kind: &ResourceKind, key: &ObjectKey) -> Prior {
        let place = (kind.api_version(), kind.kind.clone(), key.namespace.clone());
        match self.lists.get(&place) {
            None => Prior::Ask,
            Some(list) => match list.get(&key.name) {
                None => Prior::Absent,
                Some(Some(object)) => Prior::Known(object.clone()),
                Some(None) => Prior::Ask,
            },
        }
    }
}

/// About how many bytes an object has as text.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 32,
        Value::Array(items) => items.iter().map(weight).sum::<usize>() + 32,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + 64 + weight(value)).sum(),
        _ => 32,
    }
}
