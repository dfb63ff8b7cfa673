//! What a drill breaks: what the plan says it repairs. Before, it is backed up and looked at; after, compared.

use std::collections::{BTreeMap, BTreeSet};

use jm_plan::{Mode, TargetsDocument};
use jm_sandbox::journeyman::Fingerprint;
use jm_sandbox::{DatabasePlace, Description, SandboxError, journeyman};
use jm_step::TargetName;

use crate::args::DrillArgs;
use crate::commands::{block_on, sandbox};
use crate::exit::{CommandError, Exit};
use crate::session::Source;
use crate::ui::Ui;

/// The input by which a plan asks where the local backups are.
const DIRECTORY: &str = "directory";

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loss {
    cluster: bool,
    database: bool,
    bucket: bool,
    /// The plan asks for the directory of the backups.
    directory: bool,
}

/// What was there before.
pub(super) struct Before {
    /// All content of the database, and what is around it.
    data: Fingerprint,
    /// A digest of each object.
    objects: BTreeMap<String, String>,
    /// What the application ran.
    images: BTreeSet<String>,
    /// The content of each object of the backups' bucket.
    stored: BTreeMap<String, String>,
}

impl Before {
    /// Looks at what can be lost, as it is now.
    pub(super) fn look(up: &Description) -> Result<Self, CommandError> {
        let looked = block_on(async {
            Ok::<_, SandboxError>(Self {
                data: journeyman::fingerprint(up).await?,
                objects: journeyman::objects(up).await?,
                images: journeyman::images(up).await?,
                stored: journeyman::stored(up).await?,
            })
        })?;
        looked.map_err(sandbox::failed)
    }
}

impl Loss {
    /// What the plan repairs, which then has to be broken.
    pub(super) fn of(args: &DrillArgs, ui: &Ui) -> Result<Self, CommandError> {
        let registry = crate::providers::registry();
        let source = Source::read(&args.plan, args.bindings.targets.as_deref())?;
        // As for the run: what was not given is missed before anything is started for it.
        let arguments = source.arguments(&args.bindings, ui)?;
        let plan = source.compile(&registry, &arguments, Mode::Run, ui)?;
        let providers: BTreeMap<&TargetName, &str> = source.targets.iter().flat_map(TargetsDocument::targets).collect();
        let repairs = |provider: &str| {
            plan.repairs()
                .iter()
                .any(|target| providers.get(target) == Some(&provider))
        };
        Ok(Self {
            cluster: repairs("kubernetes"),
            database: repairs("postgres"),
            bucket: repairs("s3"),
            directory: source.inputs().iter().any(|input| input.name.value == DIRECTORY),
        })
    }

    /// Is anything lost?
    pub(super) fn is_any(self) -> bool {
        self.cluster || self.database || self.bucket
    }

    /// What the plan is told that in an emergency its default says: where the backups of this sandbox are.
    pub(super) fn inputs(self, up: &Description, given: &[String]) -> Vec<String> {
        let is_given = given.iter().any(|pair| pair.starts_with(&format!("{DIRECTORY}=")));
        if !self.bucket || !self.directory || is_given {
            return Vec::new();
        }
        vec!["-i".to_owned(), format!("{DIRECTORY}={}", up.variable("BACKUP_DIR"))]
    }

    /// Where the database has to live to be lost with the cluster.
    pub(super) fn database_place(self) -> DatabasePlace {
        if self.cluster && self.database {
            DatabasePlace::InCluster
        } else {
            DatabasePlace::Beside
        }
    }

    /// The step types that back up what is about to be lost.
    pub(super) fn backups(self) -> impl Iterator<Item = &'static str> {
        let database = (self.database || self.bucket).then_some("backup.create");
        let cluster = self.cluster.then_some("kubernetes.export");
        database.into_iter().chain(cluster)
    }

    /// Loses it, and says what.
    pub(super) fn happen(self, up: &Description) -> Result<String, CommandError> {
        let lost = block_on(async {
            if self.cluster {
                journeyman::lose_cluster(up).await?;
            } else if self.database {
                journeyman::lose_database(up).await?;
            }
            if self.bucket {
                journeyman::lose_bucket(up).await?;
            }
            Ok::<_, SandboxError>(())
        })?;
        lost.map_err(sandbox::failed)?;
        Ok(self.told())
    }

    /// What is lost, for people.
    fn told(self) -> String {
        let (database, bucket) = (journeyman::DATABASE, journeyman::BUCKET);
        let mut told = Vec::new();
        match (self.cluster, self.database) {
            (true, true) => told.push(format!(
                "the cluster is gone, and database `{database}` with it; an empty one is in its place"
            )),
            (true, false) => told.push("the cluster is gone; an empty one is in its place".to_owned()),
            (false, true) => told.push(format!("database `{database}` is dropped")),
            (false, false) => {}
        }
        if self.bucket {
            told.push(format!(
                "bucket `{bucket}` is gone with every version of everything in it"
            ));
        }
        told.join("; ")
    }

    /// Tells what came back, and what is not as it was.
    pub(super) fn compare(self, up: &Description, before: &Before, ui: &Ui) -> Result<(), CommandError> {
        let after = Before::look(up)?;
        let ready = block_on(journeyman::ready_replicas(up))?.map_err(sandbox::failed)?;
        let mut wrong = aspects(before, &after, ui);
        if self.cluster {
            wrong.extend(objects(before, &after, ui));
        }
        if self.bucket {
            wrong.extend(stored(before, &after, ui));
        }
        if ready != journeyman::REPLICAS {
            let wanted = journeyman::REPLICAS;
            wrong.push(format!("{ready} of {wanted} pods of the application are ready"));
        }
        ui.say(format!(
            "  {:<24} {ready:>9} of {} pods ready",
            "application",
            journeyman::REPLICAS
        ));
        if wrong.is_empty() {
            return Ok(());
        }
        Err(CommandError::new(
            Exit::Failed,
            format!("the plan ended well, and what it left is wrong: {}", wrong.join("; ")),
        )
        .hint("repeat with `--keep` and look into the sandbox"))
    }
}

/// The database, by aspect: its tables, and what its catalogues know.
fn aspects(before: &Before, after: &Before, ui: &Ui) -> Vec<String> {
    let mut wrong = Vec::new();
    for (aspect, (count, digest)) in &before.data {
        let same = after.data.get(aspect).is_some_and(|(_, now)| now == digest);
        if !same {
            wrong.push(format!("{aspect}: not what it was"));
        }
        ui.say(format!("  {aspect:<24} {count:>9} facts    {}", verdict(same)));
    }
    wrong
}

/// The objects of the bucket. What came to it since is no matter.
fn stored(before: &Before, after: &Before, ui: &Ui) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, digest) in &before.stored {
        match after.stored.get(key) {
            None => wrong.push(format!("`{key}` is missing from the bucket")),
            Some(now) if now != digest => wrong.push(format!("`{key}` in the bucket is not what it was")),
            Some(_) => {}
        }
    }
    ui.say(format!(
        "  {:<24} {:>9} objects  {}",
        "bucket",
        before.stored.len(),
        verdict(wrong.is_empty())
    ));
    wrong
}

/// Objects by kind, and the images that they run.
fn objects(before: &Before, after: &Before, ui: &Ui) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut kinds: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    for (object, digest) in &before.objects {
        let now = after.objects.get(object);
        let kind = kinds
            .entry(object.split(' ').next().unwrap_or_default())
            .or_insert((0, true));
        kind.0 += 1;
        if now != Some(digest) {
            kind.1 = false;
            wrong.push(format!(
                "{object} {}",
                if now.is_some() {
                    "is not what it was"
                } else {
                    "is missing"
                }
            ));
        }
    }
    let more = after
        .objects
        .keys()
        .filter(|object| !before.objects.contains_key(*object));
    wrong.extend(more.map(|object| format!("{object} was not there before")));
    for (kind, (count, same)) in kinds {
        ui.say(format!("  {kind:<24} {count:>9} objects  {}", verdict(same)));
    }
    let same = before.images == after.images;
    if !same {
        wrong.push("the application runs another image".to_owned());
    }
    ui.say(format!(
        "  {:<24} {:>9} by digest {}",
        "images",
        before.images.len(),
        verdict(same)
    ));
    wrong
}

fn verdict(same: bool) -> &'static str {
    if same { "as before" } else { "DIFFERENT" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_lost_with_the_cluster_only_where_the_plan_repairs_both() {
        let loss = |cluster, database| Loss {
            cluster,
            database,
            bucket: false,
            directory: false,
        };
        assert!(!loss(false, false).is_any());
        assert_eq!(loss(false, true).database_place(), DatabasePlace::Beside);
        assert_eq!(loss(true, false).database_place(), DatabasePlace::Beside);
        assert_eq!(loss(true, true).database_place(), DatabasePlace::InCluster);
        let backups: Vec<_> = loss(true, true).backups().collect();
        assert_eq!(backups, ["backup.create", "kubernetes.export"]);
    }

    #[test]
    fn an_object_that_did_not_come_back_is_named() {
        let before = |stored: &[(&str, &str)]| Before {
            data: Fingerprint::new(),
            objects: BTreeMap::new(),
            images: BTreeSet::new(),
            stored: stored
                .iter()
                .map(|(key, digest)| ((*key).to_owned(), (*digest).to_owned()))
                .collect(),
        };
        let was = before(&[("a", "1"), ("b", "1")]);
        assert_eq!(
            stored(&was, &before(&[("a", "2"), ("c", "1")]), &Ui::plain()),
            ["`a` in the bucket is not what it was", "`b` is missing from the bucket"]
        );
        assert!(stored(&was, &before(&[("a", "1"), ("b", "1"), ("c", "1")]), &Ui::plain()).is_empty());
    }

    #[test]
    fn whatever_is_other_than_before_is_named() {
        let before = |objects: &[(&str, &str)], image: &str| Before {
            data: Fingerprint::new(),
            objects: objects
                .iter()
                .map(|(object, digest)| ((*object).to_owned(), (*digest).to_owned()))
                .collect(),
            images: BTreeSet::from([image.to_owned()]),
            stored: BTreeMap::new(),
        };
        let was = before(&[("Secret a", "1"), ("Secret b", "1"), ("Role c", "1")], "web@sha256:1");
        let is = before(&[("Secret a", "2"), ("Role c", "1"), ("Role d", "1")], "web@sha256:2");
        assert_eq!(
            objects(&was, &is, &Ui::plain()),
            [
                "Secret a is not what it was",
                "Secret b is missing",
                "Role d was not there before",
                "the application runs another image",
            ]
        );
        assert!(objects(&was, &was, &Ui::plain()).is_empty());
    }
}
