//! The image that ran, in the place of the one that was written: a tag may name another one by now.

use jm_backup::{ChosenImage, RecordedImage};
use jm_client_kubernetes::ObjectKey;
use jm_client_registry::ImageRef;
use jm_step::StepError;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::chosen;

/// Which images containers get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Images {
    /// The digests that ran; an error where one is not recorded.
    #[default]
    Recorded,
    /// The digests that ran; where none is recorded, as written.
    RecordedOrWritten,
    /// As written.
    Written,
}

/// What step types of manifests take where nothing is said.
pub(crate) fn written() -> Images {
    Images::Written
}

const SPECS: [&str; 4] = [
    "/spec/template/spec",
    "/spec/jobTemplate/spec/template/spec",
    "/template/spec",
    "/spec",
];

fn spec_pointer(object: &Value) -> Option<&'static str> {
    SPECS.into_iter().find(|pointer| {
        let spec = object.pointer(pointer);
        spec.is_some_and(|spec| spec.get("containers").is_some_and(Value::is_array))
    })
}

/// What is recorded of a container: of this very image, or else of the one of its repository that it may name. What ran by
/// another tag is another image, and of what ran by its digest alone nobody knows the tag.
fn recorded<'r>(
    key: &ObjectKey,
    container: &str,
    image: &str,
    records: &'r [RecordedImage],
) -> Option<&'r RecordedImage> {
    let workload = format!("{}/{}", key.kind, key.name);
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let is_its = |record: &&RecordedImage| {
        record.namespace == namespace && record.workload == workload && record.container == container
    };
    let its = || records.iter().filter(is_its);
    let same = its().find(|record| record.image == image);
    same.or_else(|| its().find(|record| may_be_named(&record.image, image)))
}

/// Whether what ran, as it was named, may be what is written.
fn may_be_named(ran: &str, written: &str) -> bool {
    let (Ok(ran), Ok(written)) = (ImageRef::parse(ran), ImageRef::parse(written)) else {
        return false;
    };
    let tag = |image: &ImageRef<'_>| image.tag.unwrap_or("latest").to_owned();
    ran.name == written.name && tag(&ran) == tag(&written)
}

/// Which images the containers of objects get.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pinning<'p> {
    pub(crate) images: Images,
    /// What is known to have run.
    pub(crate) ran: &'p [RecordedImage],
    /// What is taken whatever ran.
    pub(crate) chosen: &'p [ChosenImage],
}

impl Pinning<'_> {
    /// Puts the images in, and tells those containers of which it has to be known what ran and is not, in words.
    pub(crate) fn pin(&self, key: &ObjectKey, object: &mut Value) -> Result<Vec<String>, StepError> {
        let chosen = chosen::put(key, object, self.chosen)?;
        let mut missing = Vec::new();
        if self.images == Images::Written {
            return Ok(missing);
        }
        for container in containers_mut(object) {
            let (Some(name), Some(image)) = (container["name"].as_str(), container["image"].as_str()) else {
                continue;
            };
            if image.contains('@') || chosen.contains(&name) {
                continue;
            }
            match recorded(key, name, image, self.ran).and_then(|one| one.digest.as_deref()) {
                Some(digest) => container["image"] = pinned(image, digest).into(),
                None if self.images == Images::Recorded => {
                    missing.push(format!("container `{name}` of {key} (`{image}`)"));
                }
                None => {}
            }
        }
        Ok(missing)
    }
}

/// The containers of an object, those that run first included, where it has any.
pub(crate) fn containers_mut(object: &mut Value) -> impl Iterator<Item = &mut Value> {
    let spec = spec_pointer(object).and_then(|pointer| object.pointer_mut(pointer));
    let lists = spec.and_then(Value::as_object_mut).into_iter().flatten();
    let lists = lists.filter(|(list, _)| matches!(list.as_str(), "initContainers" | "containers"));
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten()
}

/// Nothing is applied while it is not known which image ran.
pub(crate) fn refuse(missing: &[String]) -> Result<(), StepError> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(
        StepError::refused(format!("which image ran is not recorded for {}", missing.join(", "))).hint(
            "take the images as they are written with `images: recorded-or-written`, which may not be those that ran",
        ),
    )
}

/// The image by its digest. What is no reference, which no cluster would have taken, stays as it is.
fn pinned(image: &str, digest: &str) -> String {
    ImageRef::parse(image).map_or_else(|_| image.to_owned(), |reference| reference.pinned(digest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pin(object: &mut Value, ran: &[RecordedImage]) -> Vec<String> {
        let key = ObjectKey::of(object).expect("a key");
        let pinning = Pinning {
            images: Images::Recorded,
            ran,
            chosen: &[],
        };
        pinning.pin(&key, object).expect("the containers are there")
    }

    #[test]
    fn what_somebody_names_is_taken_whatever_ran() {
        let object = |image: &str| {
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "app" },
                "spec": { "template": { "spec": { "initContainers": [{ "name": "first", "image": "x@sha256:cc" }],
                    "containers": [{ "name": "main", "image": image }] } } } })
        };
        let ran = [RecordedImage {
            namespace: "app".to_owned(),
            workload: "Deployment/web".to_owned(),
            container: "main".to_owned(),
            image: "web:1".to_owned(),
            digest: Some("sha256:broken".to_owned()),
            idle: false,
        }];
        let chosen = |workload: &str, container: &str, image: &str| -> Vec<ChosenImage> {
            let one = json!({ "workload": workload, "container": container, "image": image });
            vec![serde_json::from_value(one).expect("a choice")]
        };
        let key = ObjectKey::of(&object("web:1")).expect("a key");
        for images in [Images::Recorded, Images::RecordedOrWritten, Images::Written] {
            // Also a tag that the broken one had.
            for image in ["web@sha256:aa", "web:1", "web:2"] {
                let chosen = chosen("deployment/web", "main", image);
                let pinning = Pinning {
                    images,
                    ran: &ran,
                    chosen: &chosen,
                };
                let mut given = object("web:1");
                assert_eq!(
                    pinning.pin(&key, &mut given).expect("it is there"),
                    Vec::<String>::new()
                );
                assert_eq!(given, object(image), "{images:?}");
            }
        }
        let (other, absent) = (
            chosen("statefulset/web", "main", "web@sha256:aa"),
            chosen("deploy/web", "other", "web@sha256:aa"),
        );
        let with = |chosen| Pinning {
            images: Images::Recorded,
            ran: &ran,
            chosen,
        };
        let mut given = object("web:1");
        with(&other).pin(&key, &mut given).expect("it is of another");
        assert_eq!(given, object("web@sha256:broken"));
        let refused = with(&absent).pin(&key, &mut given).expect_err("no such container");
        assert!(
            refused.hint_text().is_some_and(|hint| hint.contains("`main`")),
            "{refused}"
        );
    }

    #[test]
    fn a_tag_gives_way_to_what_ran_by_its_digest() {
        let object = |image: &str| {
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "app" },
                "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": image }] } } } })
        };
        let digest = format!("sha256:{}", "a".repeat(64));
        let ran = format!("localhost:5000/web@{digest}");
        let records = [RecordedImage {
            namespace: "app".to_owned(),
            workload: "Deployment/web".to_owned(),
            container: "main".to_owned(),
            image: ran.clone(),
            digest: Some(digest),
            idle: false,
        }];
        let mut tagged = object("localhost:5000/web:latest");
        assert!(pin(&mut tagged, &records).is_empty());
        assert_eq!(tagged, object(&ran));
        let [record] = records.clone();
        let digest = record.digest.clone().expect("a digest");
        let by_tag = |tag: &str| {
            let image = format!("localhost:5000/web{tag}");
            vec![RecordedImage {
                image,
                ..record.clone()
            }]
        };
        let (alone, tagged) = (format!("@{digest}"), format!(":1@{digest}"));
        for (ran, written, is_known) in [
            (":1", ":2", false),
            ("", ":latest", true),
            (":latest", "", true),
            (alone.as_str(), ":2", false),
            (&tagged, ":2", false),
            (&tagged, ":1", true),
        ] {
            let written = object(&format!("localhost:5000/web{written}"));
            let mut as_it_is = written.clone();
            let missing = pin(&mut as_it_is, &by_tag(ran));
            assert_eq!(missing.is_empty(), is_known, "{ran}: {missing:?}");
            assert_eq!(as_it_is != written, is_known, "{ran}");
        }
        let mut other = object("localhost:5000/other:latest");
        assert_eq!(pin(&mut other, &records).len(), 1);
        assert_eq!(other, object("localhost:5000/other:latest"));
    }

    #[test]
    fn a_tag_gives_way_to_what_ran() {
        let mut object = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "app" },
            "spec": { "template": { "spec": { "containers": [
                { "name": "main", "image": "localhost:5000/web:1" }, { "name": "side", "image": "side" },
                { "name": "fixed", "image": "x@sha256:cc" }, { "name": "rests", "image": "rests:1" },
                { "name": "moves", "image": "moves:latest" },
            ] } } } });
        let record = |container: &str, image: &str, digest: Option<&str>| RecordedImage {
            namespace: "app".to_owned(),
            workload: "Deployment/web".to_owned(),
            container: container.to_owned(),
            image: image.to_owned(),
            digest: digest.map(str::to_owned),
            idle: false,
        };
        let rests = RecordedImage {
            idle: true,
            ..record("rests", "rests:1", None)
        };
        let moves = RecordedImage {
            idle: true,
            ..record("moves", "moves:latest", None)
        };
        let records = [
            rests,
            moves,
            record("main", "localhost:5000/web:1", Some("sha256:aa")),
            record("side", "side", None),
        ];
        let missing = pin(&mut object, &records);
        let of = ["side", "rests", "moves"].map(|name| missing.iter().any(|one| one.contains(&format!("`{name}`"))));
        assert_eq!(
            (missing.len(), of),
            (3, [true; 3]),
            "what never ran is not known either: {missing:?}"
        );
        let images: Vec<&str> = object["spec"]["template"]["spec"]["containers"]
            .as_array()
            .expect("containers")
            .iter()
            .filter_map(|container| container["image"].as_str())
            .collect();
        assert_eq!(
            images,
            [
                "localhost:5000/web@sha256:aa",
                "side",
                "x@sha256:cc",
                "rests:1",
                "moves:latest"
            ]
        );
    }
}
