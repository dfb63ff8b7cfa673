//! What a drill breaks: what the plan says it repairs. Before, it is backed up and looked at; after, compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use jm_plan::{Mode, TargetsDocument};
use jm_sandbox::journeyman::{Fingerprint, View};
use jm_sandbox::{DatabasePlace, Description, SandboxError, journeyman};
use jm_step::{Effect, TargetName, clock};

use crate::args::DrillArgs;
use crate::commands::{block_on, sandbox};
use crate::environment;
use crate::exit::{CommandError, Exit};
use crate::session::Source;
use crate::ui::Ui;

/// The input by which a plan asks for the moment that a bucket is brought back to.
const AS_OF: &str = "as_of";
/// The folder of the sandbox that holds the application's repository.
const REPOSITORY: &str = "site";

/// Which commit of the sandbox's repository is good, and how it is built: by a shell alone.
const SOURCE: [(&str, &str); 3] = [
    ("commit", journeyman::GOOD),
    ("install", r#"["true"]"#),
    ("build", r#"["sh", "build.sh"]"#),
];

/// What can be lost in a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lost {
    Cluster,
    Database,
    /// The bucket is gone with every version in it.
    Bucket,
    /// Objects of the bucket are deleted and overwritten.
    Objects,
    /// The edge serves a broken page.
    Site,
    /// The application has an image that cannot be had, and the head of its repository does not build.
    Application,
}

/// What is lost, and what the plan has to be told of the sandbox.
#[derive(Debug, Clone)]
pub(super) struct Loss {
    lost: BTreeSet<Lost>,
    /// The plan takes the application's source from a repository.
    repository: bool,
    /// The inputs that the plan has and that were not given.
    free: BTreeSet<String>,
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
    /// When that was so.
    at: Timestamp,
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
                at: clock::now(),
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
        let given = source.arguments(&args.bindings, ui)?;
        let names = source.inputs().iter().map(|input| &input.name.value);
        let free: BTreeSet<String> = names.filter(|name| !given.give(name)).cloned().collect();
        let mut bindings = args.bindings.clone();
        bindings
            .inputs
            .extend(SOURCE.iter().filter(|(name, _)| free.contains(*name)).map(pair));
        // As for the run: what neither the operator nor the drill gives is missed before anything is started for it.
        let plan = source.compile(&registry, &source.arguments(&bindings, ui)?, Mode::Run, ui)?;
        let providers: BTreeMap<&TargetName, &str> = source.targets.iter().flat_map(TargetsDocument::targets).collect();
        // What it only looks at may be down when it is run; a drill that broke that would prove nothing.
        let changes = |target: &TargetName| {
            let mut changing = plan.all_steps().filter(|step| step.effect != Effect::ReadOnly);
            changing.any(|step| step.bindings.values().any(|used| used == target))
        };
        let repairs = |provider: &str| {
            let mut repaired = plan.repairs().iter();
            repaired.any(|target| providers.get(target) == Some(&provider) && changes(target))
        };
        let uses = |step_type: &str| plan.all_steps().any(|step| step.uses.as_str() == step_type);
        // Who brings a cluster up again may take newer manifests from a commit; what is lost with the cluster is not its source.
        let repository = uses("git.checkout") && !repairs("kubernetes");
        // What versions bring back: a moment that somebody names is none of this drill's, and then the bucket goes.
        let versions = uses("s3.restore_versions") && free.contains(AS_OF);
        let lost = [
            (Lost::Cluster, repairs("kubernetes")),
            (Lost::Database, repairs("postgres")),
            // Who publishes into a bucket does not bring back what was in it.
            (Lost::Bucket, repairs("s3") && uses("s3.bucket") && !versions),
            (Lost::Objects, repairs("s3") && versions),
            (Lost::Site, repairs("cloudfront")),
            (Lost::Application, repository && uses("kubernetes.set_image")),
        ];
        Ok(Self {
            lost: lost.into_iter().filter_map(|(lost, is)| is.then_some(lost)).collect(),
            repository,
            free,
        })
    }

    fn has(&self, lost: Lost) -> bool {
        self.lost.contains(&lost)
    }

    /// Is anything lost?
    pub(super) fn is_any(&self) -> bool {
        !self.lost.is_empty()
    }

    /// What the plan is told that in an emergency its defaults and its operator say: when all was well, where the
    /// application's repository is and how that is built. What the operator of the drill says stands.
    pub(super) fn inputs(&self, directory: &Path, up: &Description, before: Option<&Before>) -> Vec<String> {
        let below = |name: &str| directory.join(name).display().to_string();
        let mut told = Vec::new();
        if let Some(before) = before.filter(|_| self.has(Lost::Objects)) {
            told.push((AS_OF, before.at.to_string()));
        }
        if self.repository {
            told.extend(SOURCE.map(|(name, value)| (name, value.to_owned())));
            told.extend([
                // An address, for a remote has to have the commit.
                ("repository", format!("file://{}", below(REPOSITORY))),
                ("builder", below(journeyman::BUILDER)),
                ("url", up.variable("CDN_URL").to_owned()),
            ]);
        }
        let asked = told.iter().filter(|(name, _)| self.free.contains(*name));
        asked.flat_map(|told| ["-i".to_owned(), pair(told)]).collect()
    }

    /// Where the database has to live to be lost with the cluster.
    pub(super) fn database_place(&self) -> DatabasePlace {
        if self.has(Lost::Cluster) && self.has(Lost::Database) {
            DatabasePlace::InCluster
        } else {
            DatabasePlace::Beside
        }
    }

    /// The step types that back up what is about to be lost.
    pub(super) fn backups(&self) -> impl Iterator<Item = &'static str> {
        let lost = [Lost::Database, Lost::Bucket, Lost::Objects];
        let database = lost.iter().any(|&lost| self.has(lost)).then_some("backup.create");
        let cluster = self.has(Lost::Cluster).then_some("kubernetes.export");
        database.into_iter().chain(cluster)
    }

    /// Loses it, and says what.
    pub(super) fn happen(&self, directory: &Path, up: &Description) -> Result<String, CommandError> {
        let lost = block_on(async {
            if self.has(Lost::Cluster) {
                journeyman::lose_cluster(up).await?;
            } else if self.has(Lost::Database) {
                journeyman::lose_database(up).await?;
            }
            if self.has(Lost::Bucket) {
                journeyman::lose_bucket(up).await?;
            }
            if self.has(Lost::Objects) {
                journeyman::damage_objects(up).await?;
            }
            if self.repository {
                journeyman::write_repository(&directory.join(REPOSITORY), &environment::snapshot()).await?;
            }
            if self.has(Lost::Site) {
                journeyman::break_site(up).await?;
            }
            if self.has(Lost::Application) {
                journeyman::break_application(up).await?;
            }
            Ok::<_, SandboxError>(())
        })?;
        lost.map_err(sandbox::failed)?;
        Ok(self.told())
    }

    /// What is lost, for people.
    fn told(&self) -> String {
        let (database, bucket) = (journeyman::DATABASE, journeyman::BUCKET);
        let mut told = Vec::new();
        match (self.has(Lost::Cluster), self.has(Lost::Database)) {
            (true, true) => told.push(format!(
                "the cluster is gone, and database `{database}` with it; an empty one is in its place"
            )),
            (true, false) => told.push("the cluster is gone; an empty one is in its place".to_owned()),
            (false, true) => told.push(format!("database `{database}` is dropped")),
            (false, false) => {}
        }
        if self.has(Lost::Bucket) {
            told.push(format!(
                "bucket `{bucket}` is gone with every version of everything in it"
            ));
        }
        if self.has(Lost::Objects) {
            told.push(format!(
                "of the objects in bucket `{bucket}` some are deleted, the others overwritten"
            ));
        }
        if self.has(Lost::Site) {
            told.push("the edge serves a broken page, and goes on serving it from its cache".to_owned());
        }
        if self.has(Lost::Application) {
            told.push("the application was given an image that cannot be had".to_owned());
        }
        if self.repository {
            let good = journeyman::GOOD;
            told.push(format!(
                "the head of the repository does not build, `{good}` is the last good commit"
            ));
        }
        told.join("; ")
    }

    /// Tells what came back, and what is not as it was.
    pub(super) fn compare(&self, up: &Description, before: &Before, ui: &Ui) -> Result<(), CommandError> {
        let after = Before::look(up)?;
        let ready = block_on(journeyman::ready_replicas(up))?.map_err(sandbox::failed)?;
        let mut wrong = aspects(before, &after, ui);
        if self.has(Lost::Cluster) {
            wrong.extend(objects(before, &after, ui));
        }
        if self.has(Lost::Bucket) || self.has(Lost::Objects) {
            wrong.extend(stored(before, &after, ui));
        }
        if self.has(Lost::Site) {
            let view = block_on(journeyman::viewed(up, ""))?.map_err(sandbox::failed)?;
            wrong.extend(site(&view, ui));
        }
        if self.has(Lost::Application) {
            let image = block_on(journeyman::wanted_image(up))?.map_err(sandbox::failed)?;
            wrong.extend(image_of(&image, &after.images, ui));
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

/// What viewers get.
fn site(view: &View, ui: &Ui) -> Option<String> {
    let good = view.status == 200 && view.body == journeyman::GOOD_PAGE;
    let verdict = if good { "as the good commit has it" } else { "DIFFERENT" };
    ui.say(format!("  {:<24} {:>9} page     {verdict}", "site", 1));
    (!good).then(|| format!("viewers get {} with another page than the good commit's", view.status))
}

/// The image that the deployment names, which all its pods have to run.
fn image_of(wanted: &str, running: &BTreeSet<String>, ui: &Ui) -> Option<String> {
    let digest = wanted.split_once('@').map(|(_, digest)| digest).unwrap_or_default();
    let good = !digest.is_empty() && running.len() == 1 && running.iter().all(|image| image.ends_with(digest));
    let verdict = if good { "by digest, in every pod" } else { "DIFFERENT" };
    ui.say(format!("  {:<24} {:>9} image    {verdict}", "application", 1));
    (!good).then(|| format!("the application is to run `{wanted}`, and its pods run {running:?}"))
}

/// An input and its value, as `-i` takes them.
fn pair<V: std::fmt::Display>((name, value): &(&str, V)) -> String {
    format!("{name}={value}")
}

fn verdict(same: bool) -> &'static str {
    if same { "as before" } else { "DIFFERENT" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_lost_with_the_cluster_only_where_the_plan_repairs_both() {
        let loss = |cluster: bool, database: bool| Loss {
            lost: [(Lost::Cluster, cluster), (Lost::Database, database)]
                .into_iter()
                .filter_map(|(lost, is)| is.then_some(lost))
                .collect(),
            repository: false,
            free: BTreeSet::new(),
        };
        assert!(!loss(false, false).is_any());
        assert_eq!(loss(false, true).database_place(), DatabasePlace::Beside);
        assert_eq!(loss(true, false).database_place(), DatabasePlace::Beside);
        assert_eq!(loss(true, true).database_place(), DatabasePlace::InCluster);
        let backups: Vec<_> = loss(true, true).backups().collect();
        assert_eq!(backups, ["backup.create", "kubernetes.export"]);
    }

    #[test]
    fn a_site_and_an_image_that_are_not_what_they_should_be_are_named() {
        let view = |status, body: &str| View {
            status,
            cache: String::new(),
            body: body.to_owned(),
        };
        assert_eq!(site(&view(200, journeyman::GOOD_PAGE), &Ui::plain()), None);
        assert!(site(&view(200, "old"), &Ui::plain()).is_some());
        assert!(site(&view(503, journeyman::GOOD_PAGE), &Ui::plain()).is_some());
        let running = |images: &[&str]| images.iter().map(|&image| image.to_owned()).collect();
        let good = running(&["docker-pullable://web@sha256:1"]);
        assert_eq!(image_of("web@sha256:1", &good, &Ui::plain()), None);
        assert!(image_of("web:1", &good, &Ui::plain()).is_some());
        assert!(image_of("web@sha256:2", &good, &Ui::plain()).is_some());
        let mixed = running(&["web@sha256:1", "web@sha256:2"]);
        assert!(image_of("web@sha256:1", &mixed, &Ui::plain()).is_some());
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
            at: Timestamp::UNIX_EPOCH,
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
            at: Timestamp::UNIX_EPOCH,
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
