//! The objects of manifests, each with the image that is to run.

use std::collections::BTreeMap;

use jm_client_kubernetes::{ObjectKey, Wave};
use jm_step::{ReadContext, StepError};

use super::{Named, files};
use crate::deploy::{Chunks, Object, Source};
use crate::recorded;

/// Gives the containers of an object their images, and tells those of which it has to be known and is not.
fn pin(object: &mut Object, named: &Named<'_>, namespace: &str) -> Result<Vec<String>, StepError> {
    let mut key = object.key.clone();
    key.namespace.get_or_insert_with(|| namespace.to_owned());
    named.pinning.pin(&key, &mut object.value)
}

/// Objects that were read from files.
pub(crate) struct Objects {
    objects: Vec<Object>,
    /// Those of waves that were not asked for.
    besides: Vec<Object>,
    waves: BTreeMap<Wave, u64>,
}

impl Objects {
    pub(crate) async fn read(cx: &ReadContext, named: &Named<'_>, namespace: &str) -> Result<Self, StepError> {
        let mut objects = Vec::new();
        let mut besides = Vec::new();
        let mut waves = BTreeMap::new();
        let mut missing = Vec::new();
        for written in files::read(cx, named, namespace).await? {
            let mut object = Object::new(written.value)?;
            object.check_wave()?;
            let wave = object.wave();
            if named.waves.is_empty() || named.waves.contains(&wave) {
                *waves.entry(wave).or_default() += 1;
                missing.extend(pin(&mut object, named, namespace)?);
                objects.push(object);
            } else {
                besides.push(object);
            }
        }
        if objects.is_empty() {
            return Err(StepError::not_found("there is no manifest to apply").hint(
                "name files or folders with `*.yaml`, `*.yml` or `*.json`, or set `recursive` for folders in them",
            ));
        }
        recorded::refuse(&missing)?;
        Ok(Self {
            objects,
            besides,
            waves,
        })
    }

    pub(crate) fn count(&self) -> u64 {
        self.objects.len() as u64
    }
}

/// How many objects of a file are applied between two looks at the rest.
const CHUNK: usize = 1024;

impl Source for Objects {
    fn waves(&self) -> &BTreeMap<Wave, u64> {
        &self.waves
    }

    fn besides(&self) -> &[Object] {
        &self.besides
    }

    fn brings_namespace(&self, name: &str) -> bool {
        self.objects.iter().any(|object| {
            let key = &object.key;
            object.wave() == Wave::Namespaces && key.group().is_empty() && key.kind == "Namespace" && key.name == name
        })
    }

    fn members(&self) -> Vec<&ObjectKey> {
        let all = self.objects.iter().chain(&self.besides);
        all.map(|object| &object.key).collect()
    }

    async fn open(&self, wave: Wave) -> Result<impl Chunks, StepError> {
        let of_it = self.objects.iter().filter(|object| object.wave() == wave);
        let left: Vec<Object> = of_it.cloned().collect();
        Ok(Left(left.into_iter()))
    }
}

struct Left(std::vec::IntoIter<Object>);

impl Chunks for Left {
    async fn next(&mut self) -> Result<Vec<Object>, StepError> {
        Ok(self.0.by_ref().take(CHUNK).collect())
    }
}
