//! A dry run that was saved: what was shown, and by what it is known that nothing changed since. `jm plan run` of it runs
//! exactly that, or refuses.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jm_plan::{Arguments, Mode};
use jm_run::journal::Opened;
use jm_run::{DryRun, DryVerdict, Run};
use jm_step::{Registry, RunInfo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::run::info;
use crate::args::{PlanRunArgs, RunOptions};
use crate::exit::{CommandError, Exit};
use crate::session::Source;
use crate::ui::Ui;
use crate::{launch, project};

/// What tells such a file from a plan.
const KIND: &str = "jm/saved-dry-run";
const VERSION: u32 = 1;

/// A dry run, and all that it was of.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Saved {
    /// `jm/saved-dry-run`.
    kind: String,
    /// Of this document: 1.
    version: u32,
    /// SHA-256 of this file with nothing between the quotes here.
    digest: String,
    /// When it was saved.
    #[schemars(with = "String")]
    saved_at: Timestamp,
    /// The plan's file, and SHA-256 of its text.
    plan: FileOf,
    /// The targets file, by its path alone: what it says is compared as it is rendered.
    targets_file: Option<PathBuf>,
    /// The file with inputs, and SHA-256 of its text.
    inputs: Option<FileOf>,
    /// What the run would be opened with: inputs, references of secrets, digests of plan and targets.
    opened: Opened,
    /// What was shown.
    dry_run: DryRun,
}

/// A file as it was.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct FileOf {
    path: PathBuf,
    sha256: String,
}

impl FileOf {
    fn now(path: &Path) -> Result<Self, CommandError> {
        Ok(Self {
            path: PathBuf::from(project::absolute(path)?),
            sha256: sha256(&project::read(path)?),
        })
    }

    /// What is to be said of it, where it is not what it was.
    fn change(&self, what: &str) -> Option<String> {
        let path = project::shown(&self.path);
        match project::read(&self.path) {
            Ok(text) if sha256(&text) == self.sha256 => None,
            Ok(_) => Some(format!("{what} {path} changed")),
            Err(_) => Some(format!("{what} {path} cannot be read")),
        }
    }
}

impl Saved {
    /// A dry run that was just made.
    pub(super) fn new(run: &Run, dry_run: &DryRun, args: &PlanRunArgs) -> Result<Self, CommandError> {
        let plan = run.file.as_deref().map_or(args.plan.as_path(), Path::new);
        let targets = project::targets_for(plan, args.bindings.targets.as_deref());
        let inputs = args.bindings.inputs_file.as_deref();
        Ok(Self {
            kind: KIND.to_owned(),
            version: VERSION,
            digest: String::new(),
            saved_at: jm_step::clock::now(),
            plan: FileOf::now(plan)?,
            targets_file: targets
                .map(|file| project::absolute(&file).map(PathBuf::from))
                .transpose()?,
            inputs: inputs.map(FileOf::now).transpose()?,
            opened: run.opened(),
            dry_run: dry_run.clone(),
        })
    }

    /// The saved dry run in a file; nothing where the file is something else.
    pub(super) fn find(file: &Path) -> Result<Option<Self>, CommandError> {
        #[derive(Deserialize)]
        struct Head {
            kind: String,
            version: u32,
        }
        let text = project::read(file)?;
        let Some(head) = serde_json::from_str::<Head>(&text)
            .ok()
            .filter(|head| head.kind == KIND)
        else {
            return Ok(None);
        };
        let unusable = |why: String| {
            CommandError::new(Exit::Invalid, format!("{} cannot be used: {why}", file.display()))
                .hint("save the dry run anew")
        };
        if head.version != VERSION {
            return Err(unusable(format!(
                "it is of version {}, and this jm reads version {VERSION}",
                head.version
            )));
        }
        let saved: Self = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
        if sha256(&text.replacen(&saved.digest, "", 1)) != saved.digest {
            return Err(unusable("it was changed after it was saved".to_owned()));
        }
        Ok(Some(saved))
    }

    /// Writes it, whole or not at all.
    pub(super) fn save(&self, file: &Path) -> Result<(), CommandError> {
        let blank = format!("{:#}\n", serde_json::json!(self));
        let sealed = blank.replacen("\"digest\": \"\"", &format!("\"digest\": \"{}\"", sha256(&blank)), 1);
        project::write(file, &sealed)
    }

    /// The run that was shown, if everything is as it was.
    pub(super) fn assemble(&self, args: &PlanRunArgs, registry: &Registry, ui: &Ui) -> Result<Run, CommandError> {
        self.stands_alone(args)?;
        let does_not_go_through = match self.dry_run.verdict {
            DryVerdict::WouldFail => Some((Exit::Failed, "would fail")),
            DryVerdict::CannotBegin => Some((Exit::Stopped, "could not begin")),
            DryVerdict::Ready | DryVerdict::Refused => None,
        };
        if let Some((exit, what)) = does_not_go_through.filter(|_| !args.dry_run) {
            return Err(
                CommandError::new(exit, format!("{} says that it {what}", args.plan.display()))
                    .hint("mend what it names, and save the dry run anew"),
            );
        }
        let inputs = self.inputs.as_ref().and_then(|file| file.change("the file of inputs"));
        let changes: Vec<String> = self.plan.change("the plan").into_iter().chain(inputs).collect();
        self.refuse(&changes)?;
        let targets = args.bindings.targets.clone().or_else(|| self.targets_file.clone());
        let source = Source::read(&self.plan.path, targets.as_deref())?;
        let known = launch::all_inputs(&self.opened, &jm_run::journal::MemoryFiles::new())?;
        let arguments = Arguments::from_journal(&source.document, &known);
        let plan = source.compile(registry, &arguments, Mode::Run, ui)?;
        let info = RunInfo {
            drill: self.opened.run.drill,
            ..info(&plan, false)
        };
        let options = RunOptions {
            until: self.until(args)?,
            ..args.options.clone()
        };
        let mut run = launch::assemble(plan, info, source.targets.as_ref(), registry, &options, ui)?;
        run.file = Some(self.plan.path.display().to_string());
        run.directory.clone_from(&self.opened.directory);
        self.refuse(&self.changes(&run))?;
        Ok(run)
    }

    /// Where the run stops: where it was shown to, or sooner where nothing was said of that.
    fn until(&self, args: &PlanRunArgs) -> Result<Option<String>, CommandError> {
        let shown = self.dry_run.until.as_ref().map(ToString::to_string);
        match (&args.options.until, shown) {
            (Some(asked), Some(shown)) if *asked != shown => Err(CommandError::usage(format!(
                "{} was shown until `{shown}`, not until `{asked}`",
                args.plan.display()
            ))
            .hint("run it so far, then `jm plan resume`; or save a dry run anew")),
            (asked, shown) => Ok(asked.clone().or(shown)),
        }
    }

    /// What is said in the file cannot be said again.
    fn stands_alone(&self, args: &PlanRunArgs) -> Result<(), CommandError> {
        let bindings = &args.bindings;
        if bindings.inputs.is_empty() && bindings.inputs_file.is_none() && !args.drill && !args.offline {
            return Ok(());
        }
        Err(CommandError::usage(format!(
            "{} says already with which inputs it is run, and whether as a drill",
            args.plan.display()
        ))
        .hint(format!(
            "for others, `jm plan run {} --dry-run --out FILE` anew",
            project::shown(&self.plan.path)
        )))
    }

    fn changes(&self, run: &Run) -> Vec<String> {
        let now = run.opened();
        let mut changes = Vec::new();
        if now.plan != self.opened.plan {
            changes.push("the plan changed".to_owned());
        }
        if now.inputs != self.opened.inputs || now.secrets.keys().ne(self.opened.secrets.keys()) {
            changes.push("the inputs changed".to_owned());
        }
        if (&now.targets, &now.targets_digest) != (&self.opened.targets, &self.opened.targets_digest) {
            changes.push(format!(
                "targets `{}` are not those that were looked at: the file or the environment changed",
                self.opened.targets
            ));
        }
        changes.extend(
            run.changed_secrets(&self.opened)
                .iter()
                .map(|name| format!("secret input `{name}` has another value")),
        );
        changes
    }

    fn refuse(&self, changes: &[String]) -> Result<(), CommandError> {
        if changes.is_empty() {
            return Ok(());
        }
        Err(CommandError::new(
            Exit::Refused,
            format!(
                "since the dry run of {}, {}",
                self.saved_at.strftime("%Y-%m-%d %H:%M:%SZ"),
                changes.join("; ")
            ),
        )
        .hint(format!(
            "look again, and save that: `jm plan run {} --dry-run --out FILE`",
            project::shown(&self.plan.path)
        )))
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}
