//! The image that ran, in the place of the one that was written: a tag may name another one by now.

use jm_backup::{RecordedImage, is_named};
use jm_client_kubernetes::ObjectKey;
use jm_client_registry::ImageRef;
use jm_step::StepError;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Which images containers get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Images {
    /// The digests that ran; as written where nothing did, by a tag other than `latest`; an error where one is not recorded.
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

/// Containers whose image is only a tag, and for which no digest is recorded though something ran.
pub(crate) fn unrecorded(key: &ObjectKey, object: &Value, records: &[RecordedImage]) -> Vec<String> {
    let spec = spec_pointer(object).and_then(|pointer| object.pointer(pointer));
    let lists = ["initContainers", "containers"].into_iter();
    let containers = lists.filter_map(|list| spec?.get(list)?.as_array()).flatten();
    containers
        .filter_map(|container| {
            let (name, image) = (container["name"].as_str()?, container["image"].as_str()?);
            let record = recorded(key, name, image, records);
            let known = record.is_some_and(|one| one.digest.is_some());
            let known = known || is_named(image, record.is_some_and(|one| one.idle));
            (!known).then(|| format!("container `{name}` of {key} (`{image}`)"))
        })
        .collect()
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

/// Puts the recorded digests in.
pub(crate) fn pin(key: &ObjectKey, object: &mut Value, records: &[RecordedImage]) {
    let Some(spec) = spec_pointer(object).and_then(|pointer| object.pointer_mut(pointer)) else {
        return;
    };
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let (Some(name), Some(image)) = (container["name"].as_str(), container["image"].as_str()) else {
                continue;
            };
            if image.contains('@') {
                continue;
            }
            if let Some(digest) = recorded(key, name, image, records).and_then(|one| one.digest.as_deref()) {
                container["image"] = pinned(image, digest).into();
            }
        }
    }
}

/// The image by its digest. What is no reference, which no cluster would have taken, stays as it is.
fn pinned(image: &str, digest: &str) -> String {
    ImageRef::parse(image).map_or_else(|_| image.to_owned(), |reference| reference.pinned(digest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
        let key = ObjectKey::of(&tagged).expect("a key");
        assert!(unrecorded(&key, &tagged, &records).is_empty());
        pin(&key, &mut tagged, &records);
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
            let missing = unrecorded(&key, &written, &by_tag(ran));
            assert_eq!(missing.is_empty(), is_known, "{ran}: {missing:?}");
            let mut as_it_is = written.clone();
            pin(&key, &mut as_it_is, &by_tag(ran));
            assert_eq!(as_it_is != written, is_known, "{ran}");
        }
        let mut other = object("localhost:5000/other:latest");
        assert_eq!(unrecorded(&key, &other, &records).len(), 1);
        pin(&key, &mut other, &records);
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
        let key = ObjectKey::of(&object).expect("a key");
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
        let missing = unrecorded(&key, &object, &records);
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(missing[0].contains("`side`") && missing[1].contains("`moves`"));
        pin(&key, &mut object, &records);
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
