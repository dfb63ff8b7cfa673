//! `kubernetes.import`: takes plain files of earlier backups (`k8s-backup-`, `secrets-backup-`,
//! `configmaps-backup-YYYYMMDD.yaml`) into the catalogue, encrypted on the way.
//!
//! `kubectl get all` lists no namespace, so that nothing of it could be restored into an empty cluster: a plain one is put
//! in. It lists the pods, by which the images that ran are known.

#![expect(clippy::disallowed_methods, reason = "what is imported lies in files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jm_backup::{
    BackupRef, Backups, ContentKind, Keeping, KubernetesIndex, Level, ObjectWriter, ObjectsRequest, RecordedImage,
    Told, Toolbox, UnkeptContents, until_cancelled,
};
use jm_client_kubernetes::{Maker, ObjectKey, Wave, awake, documents, is_never_kept, left_out, strip};
use jm_step::{
    Change, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::deploy::Object;
use crate::export::{Images, IndexBuilder, Place, Volumes};

/// The step type `kubernetes.import`.
pub struct Import;

/// What is imported.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The files. Those of one day become one export.
    files: Vec<String>,
    /// The day of the data (YYYYMMDD), where the files' names do not end with it.
    #[serde(default)]
    day: Option<String>,
}

/// What was imported.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The exports that came of it, the oldest first.
    exports: Vec<BackupRef>,
}

impl StepType for Import {
    const NAME: &'static str = "kubernetes.import";
    const SUMMARY: &'static str =
        "takes plain files of earlier backups of objects into the catalogue, encrypted on the way";
    const EFFECT: Effect = Effect::Reversible;
    // A deed that was done is found again by its key, and is not done twice.
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = Vec::new();
        if input.files.is_empty() {
            issues.push(InputIssue::at("/files", "no file is named"));
        }
        for (index, file) in input.files.iter().enumerate() {
            if input.day.is_none() && day_of(file).is_none() {
                issues.push(
                    InputIssue::at(format!("/files/{index}"), format!("`{file}` does not end with a day"))
                        .help("call it like `k8s-backup-20240115.yaml`, or say the `day`"),
                );
            }
        }
        if let Some(day) = &input.day
            && date(day).is_none()
        {
            issues.push(InputIssue::at("/day", format!("`{day}` is not a day of the calendar")).help("write YYYYMMDD"));
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::BACKUPS]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of(crate::BACKUPS.name, jm_backup::MAKING)]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let backups = cx.read::<Backups>().await?;
        backups.can_file(ContentKind::Kubernetes, None).await?;
        let mut changes = Vec::new();
        for (day, files) in days(input)? {
            changes.push(change(&day, &files, read(&files).await?.objects.len()));
        }
        let summary = format!("import {} files as {} exports", input.files.len(), changes.len());
        Ok(Preview::computed(summary, changes))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let backups = cx.connect::<Backups>().await?;
        let mut exports = Vec::new();
        for (day, files) in days(&input)? {
            let key = key(cx, &day);
            if let Some(entry) = backups.reader().made_by(&key).await? {
                exports.push(backups.reader().reference(&entry));
                continue;
            }
            let read = read(&files).await?;
            let count = read.objects.len();
            for image in read.images.iter().filter(|image| image.digest.is_none() && !image.idle) {
                cx.log(format!(
                    "no pod says which `{}` ran in container `{}` of {}",
                    image.image, image.container, image.workload
                ))
                .await;
            }
            let made = until_cancelled(cx, Box::pin(store(cx, &backups, &day, key, read))).await?;
            cx.changed(change(&day, &files, count)).await;
            exports.push(made);
        }
        Ok(Output { exports })
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let backups = cx.read::<Backups>().await?;
        let mut exports = Vec::new();
        for day in days(input)?.keys() {
            match backups.made_by(&key(cx, day)).await? {
                Some(entry) => exports.push(backups.reference(&entry)),
                // What has no manifest does not count; days that are done are found again.
                None => return Ok(Probe::NotStarted),
            }
        }
        Ok(Probe::Succeeded(Output { exports }))
    }
}

fn key(cx: &ReadContext, day: &str) -> String {
    format!("{}-{day}", cx.idempotency_key())
}

/// `20240115` of `secrets-backup-20240115.yaml`.
fn day_of(file: &str) -> Option<String> {
    let stem = Path::new(file).file_stem()?.to_str()?;
    let day = stem.rsplit(['-', '_']).next()?;
    date(day).map(|_| day.to_owned())
}

fn date(day: &str) -> Option<Date> {
    let digits = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Date::strptime("%Y%m%d", day).ok()).flatten()
}

fn days(input: &Input) -> Result<BTreeMap<String, Vec<String>>, StepError> {
    let mut days: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &input.files {
        let day = input.day.clone().or_else(|| day_of(file));
        let day = day.ok_or_else(|| StepError::invalid_input(format!("`{file}` does not end with a day")))?;
        days.entry(day).or_default().push(file.clone());
    }
    Ok(days)
}

/// What files hold that is worth keeping.
struct Read {
    /// Each object once, in the order of the waves.
    objects: Vec<(ObjectKey, Value)>,
    /// The images that ran, as far as the files' pods tell.
    images: Vec<RecordedImage>,
    /// The claims whose contents are elsewhere.
    unkept_contents: Vec<UnkeptContents>,
}

/// The objects of the files, each once: `kubectl get all` and the others overlap.
async fn read(files: &[String]) -> Result<Read, StepError> {
    let mut found = Vec::new();
    for file in files {
        let text = tokio::fs::read_to_string(file)
            .await
            .map_err(|error| StepError::not_found(format!("`{file}` cannot be read: {error}")).source(error))?;
        found.extend(documents(file, &text)?);
    }
    let uid = |object: &Value| object.pointer("/metadata/uid")?.as_str().map(str::to_owned);
    let uids: BTreeSet<String> = found.iter().filter_map(uid).collect();
    let mut objects = BTreeMap::new();
    let mut images = Images::default();
    let mut volumes = Volumes::default();
    for object in &found {
        volumes.see(object);
    }
    for mut object in found {
        images.see(&object);
        let key = ObjectKey::of(&object)?;
        if let ("Pod", Some(namespace)) = (key.kind.as_str(), &key.namespace) {
            images.pods_are_known(namespace); // a listing has one of them or all
        }
        if left_out(&object).is_some() || is_never_kept(key.group(), &key.kind) || is_made_again(&object, &uids) {
            continue;
        }
        volumes.see_claim(&object)?;
        strip(&mut object, true, volumes.kept());
        awake(&mut object);
        objects.insert((Wave::of(&object), key), object);
    }
    if objects.is_empty() {
        return Err(
            StepError::invalid_input(format!("`{}` holds no object to keep", files.join("`, `")))
                .hint("see that these are the files: `kubectl get … -o yaml` wrote them"),
        );
    }
    let namespaces: BTreeSet<String> = objects.keys().filter_map(|(_, key)| key.namespace.clone()).collect();
    // What is in those of Kubernetes itself is refused by whoever restores it.
    for namespace in namespaces.iter().filter(|namespace| !namespace.starts_with("kube-")) {
        let Object { key, value } = Object::namespace(namespace)?;
        objects.entry((Wave::of(&value), key)).or_insert(value);
    }
    let kept: BTreeSet<Place> = objects
        .keys()
        .map(|(_, key)| {
            (
                key.namespace.clone().unwrap_or_default(),
                format!("{}/{}", key.kind, key.name),
            )
        })
        .collect();
    Ok(Read {
        images: images.finish(|workload| kept.contains(workload)),
        unkept_contents: volumes.finish(),
        objects: objects.into_iter().map(|((_, key), object)| (key, object)).collect(),
    })
}

/// Whether what makes an object will be there again, as for an export: what is in the files is kept, or is made again
/// itself. Nobody makes what belongs to something else.
fn is_made_again(object: &Value, uids: &BTreeSet<String>) -> bool {
    let Some(maker) = Maker::of(object) else { return false };
    uids.contains(&maker.uid) || is_never_kept(maker.key.group(), &maker.key.kind)
}

async fn store(
    cx: &StepContext,
    backups: &Backups,
    day: &str,
    key: String,
    read: Read,
) -> Result<BackupRef, StepError> {
    let Read {
        objects,
        images,
        unkept_contents,
    } = read;
    let namespaces: BTreeSet<String> = objects.iter().filter_map(|(key, _)| key.namespace.clone()).collect();
    let namespaces: Vec<String> = namespaces.into_iter().collect();
    let request = ObjectsRequest {
        namespaces: namespaces.clone(),
        taken_at: Some(begin(day)?),
        keeping: Keeping {
            idempotency_key: key,
            ..Keeping::of(cx, "", None, Level::Archive)
        },
    };
    let write = async |mut writer: ObjectWriter| {
        let mut index = IndexBuilder::default();
        for (key, object) in &objects {
            index.write(&mut writer, key, object).await?;
        }
        let index = KubernetesIndex {
            namespaces,
            kinds: index.finish(),
            images,
            unkept_contents,
            ..KubernetesIndex::default()
        };
        Ok((writer, index))
    };
    let created = backups
        .store_objects(&request, &Toolbox::of(cx), &Told(cx), write)
        .await?;
    Ok(created.backup)
}

/// Of the day alone nothing later can be said for sure.
fn begin(day: &str) -> Result<Timestamp, StepError> {
    let begin = date(day).and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    begin
        .map(|begin| begin.timestamp())
        .ok_or_else(|| StepError::invalid_input(format!("`{day}` is not a day of the calendar")))
}

fn change(day: &str, files: &[String], objects: usize) -> Change {
    Change::create(
        format!("export of the objects of {day}"),
        json!({ "files": files, "objects": objects }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_read_from_the_name() {
        assert_eq!(day_of("/b/k8s-backup-20240115.yaml").as_deref(), Some("20240115"));
        assert_eq!(day_of("secrets-backup-20240229.yaml").as_deref(), Some("20240229"));
        for other in ["k8s-backup.yaml", "k8s-backup-20240230.yaml", "k8s-backup-2024011.yaml"] {
            assert_eq!(day_of(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn what_several_files_hold_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let config =
            "{ apiVersion: v1, kind: ConfigMap, metadata: { name: a, namespace: app, uid: u }, data: { k: v } }";
        let root = "{ apiVersion: v1, kind: ConfigMap, metadata: { name: kube-root-ca.crt, namespace: app } }";
        let files = [
            write(
                "k8s-backup-20240115.yaml",
                &format!("apiVersion: v1\nkind: List\nitems:\n- {config}\n"),
            ),
            write(
                "configmaps-backup-20240115.yaml",
                &format!("apiVersion: v1\nkind: List\nitems:\n- {config}\n- {root}\n"),
            ),
        ];
        let objects = read(&files).await.expect("read").objects;
        assert_eq!(objects.len(), 2);
        // `get all` lists none, and the rest has nowhere to go without it.
        assert_eq!(objects[0].1["metadata"], json!({ "name": "app" }));
        assert_eq!(objects[0].1["kind"], "Namespace");
        assert_eq!(objects[1].1["metadata"], json!({ "name": "a", "namespace": "app" }));
    }

    #[tokio::test]
    async fn what_nothing_in_the_files_makes_is_kept() {
        let made = |name: &str, version: &str, kind: &str, uid: &str| {
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "app", "ownerReferences":
                [{ "apiVersion": version, "kind": kind, "name": "x", "uid": uid, "controller": true }] } })
        };
        let maker = json!({ "apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": { "name": "maker", "namespace": "app", "uid": "here" } });
        let plain = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "plain", "namespace": "app", "uid": "plain" } });
        let items = [
            made("again", "example.com/v1", "Widget", "here"),
            made("orphan", "example.com/v1", "Widget", "elsewhere"),
            made("kept-beside", "v1", "ConfigMap", "plain"),
            made("of-a-machine", "v1", "Node", "machine"),
            maker,
            plain,
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("configmaps-backup-20240115.yaml");
        std::fs::write(
            &path,
            json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string(),
        )
        .unwrap();
        let found = read(&[path.display().to_string()]).await.expect("read");
        let names: Vec<&str> = found.objects.iter().map(|(key, _)| key.name.as_str()).collect();
        assert_eq!(
            names,
            ["app", "kept-beside", "of-a-machine", "orphan", "plain", "maker"]
        );
    }

    #[tokio::test]
    async fn the_images_that_ran_are_known_by_the_pods() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let spec = json!({ "containers": [{ "name": "main", "image": "web:1" }] });
        let object = |kind: &str, name: &str, owner: Option<(&str, &str)>, rest: Value| {
            let owners: Vec<Value> = owner
                .into_iter()
                .map(|(kind, uid)| json!({ "apiVersion": "apps/v1", "kind": kind, "uid": uid, "controller": true }))
                .collect();
            let mut object = json!({ "apiVersion": "apps/v1", "kind": kind,
                "metadata": { "name": name, "namespace": "app", "uid": name, "ownerReferences": owners } });
            for (field, value) in rest.as_object().expect("fields") {
                object[field] = value.clone();
            }
            object
        };
        let status = json!({ "containerStatuses": [{ "name": "main", "imageID": format!("x.io/web@{digest}") }] });
        let template = json!({ "spec": { "template": { "spec": spec } } });
        let mut pod = object(
            "Pod",
            "web-1-a",
            Some(("ReplicaSet", "web-1")),
            json!({ "spec": spec, "status": status }),
        );
        pod["apiVersion"] = "v1".into();
        let items = [
            pod,
            object("ReplicaSet", "web-1", Some(("Deployment", "web")), template.clone()),
            object("Deployment", "web", None, template),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k8s-backup-20240115.yaml");
        std::fs::write(
            &path,
            json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string(),
        )
        .unwrap();
        let found = read(&[path.display().to_string()]).await.expect("read");
        assert_eq!(found.objects.len(), 2, "namespace and deployment");
        assert_eq!(found.images.len(), 1);
        assert_eq!(found.images[0].workload, "Deployment/web");
        assert_eq!(found.images[0].digest.as_deref(), Some(digest.as_str()));
    }
}
