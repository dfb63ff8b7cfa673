//! `jm backup`: the catalogue at hand, without a plan. What makes or restores a backup is a step, and has a journal.

pub(super) mod decrypt;
pub(super) mod import;
pub(super) mod list;
pub(super) mod show;
pub(super) mod verify;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, ready};
use indicatif::ProgressBar;
use jm_backup::{Backups, Entry, Observer, Silent, Toolbox, Wanted, Which};
use jm_plan::TargetsDocument;
use jm_step::{Connection, OpenContext, RunId, Secrets, StepError, TargetName};

use crate::args::BackupsAt;
use crate::exit::{CommandError, Exit};
use crate::report::screen::Screen;
use crate::report::terminal;
use crate::ui::Ui;
use crate::{environment, launch, project};

/// The backups of a target, opened.
struct Opened {
    backups: Backups,
    tools: Toolbox,
}

/// Opens the target: the one that is named, else the only one of the provider.
async fn open(at: &BackupsAt, ui: &Ui) -> Result<Opened, CommandError> {
    let file = project::targets_here(at.targets.as_deref()).ok_or_else(|| {
        CommandError::usage("there is no targets file to say where the backups are")
            .hint("name one with `--targets FILE`")
    })?;
    let (document, _) = jm_plan::parse_targets(&file.display().to_string(), &project::read(&file)?);
    let name = chosen(&document, at.target.as_deref())?;
    let registry = crate::providers::registry();
    let environment = environment::snapshot();
    let used = (&BTreeSet::from([name.clone()]), &BTreeSet::new());
    let mut rendered = launch::render(&document, &registry, used, &environment, ui)?;
    let target = rendered.targets.pop().ok_or_else(|| {
        let why = rendered.not_configured.get(&name).cloned().unwrap_or_default();
        CommandError::new(Exit::Invalid, format!("target `{name}` is not configured: {why}"))
    })?;
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: environment.clone(),
        run: RunId::generate(),
    };
    let config = serde_json::from_value(target.config.clone())
        .map_err(|error| CommandError::new(Exit::Invalid, format!("target `{name}` does not fit: {error}")))?;
    let backups = Backups::open(config, &cx).await?;
    backups.ping().await?;
    jm_run::admits_pinned(&target, backups.identity().await?)?;
    let tools = Toolbox {
        supervisor: launch::supervisor()?,
        environment,
    };
    Ok(Opened { backups, tools })
}

/// The name of the role that steps have for backups, and of the target that is meant where there are several.
const USUAL: &str = "backups";

fn chosen(document: &TargetsDocument, named: Option<&str>) -> Result<TargetName, CommandError> {
    let all: Vec<&TargetName> = document
        .targets()
        .filter(|(_, provider)| *provider == Backups::PROVIDER)
        .map(|(name, _)| name)
        .collect();
    let names = || all.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    match (named, all.as_slice()) {
        (Some(named), _) => all
            .iter()
            .find(|name| name.as_str() == named)
            .map(|name| (*name).clone())
            .ok_or_else(|| {
                CommandError::usage(format!(
                    "{} has no target `{named}` of provider `backup`",
                    document.file()
                ))
                .hint(format!("it has: {}", names()))
            }),
        (None, [only]) => Ok((*only).clone()),
        // As steps bind it: others are copies that a plan names.
        (None, all) if let Some(usual) = all.iter().find(|name| name.as_str() == USUAL) => Ok((*usual).clone()),
        (None, []) => Err(CommandError::usage(format!(
            "{} has no target of provider `backup`",
            document.file()
        ))),
        (None, _) => Err(CommandError::usage(format!(
            "{} has several targets with backups: {}",
            document.file(),
            names()
        ))
        .hint("say which one with `--target NAME`")),
    }
}

impl Opened {
    /// The backup that is meant: by name or path, or as plans choose one.
    async fn find(&self, text: &str) -> Result<Entry, StepError> {
        let name = match text.parse() {
            Ok(Which::Name(_)) | Err(_) => self.backups.name(text)?,
            Ok(which) => {
                let wanted = Wanted::database(which);
                self.backups.select(&wanted, &self.tools, &Silent).await?.backup.name
            }
        };
        self.backups.find(&name).await
    }
}

/// How far the work on a backup is: a line at the bottom of the terminal, where there is one.
struct Watching {
    line: Option<ProgressBar>,
    what: String,
    since: Instant,
}

impl Watching {
    fn new(what: impl Into<String>, ui: &Ui) -> Self {
        Self {
            line: ui.moving.then(|| Screen::new(ui).area()),
            what: what.into(),
            since: Instant::now(),
        }
    }
}

impl Observer for Watching {
    fn progress(&self, done: u64, total: Option<u64>) -> BoxFuture<'_, ()> {
        if let Some(line) = &self.line {
            line.set_message(format!(
                "{}  {}",
                self.what,
                terminal::far(done, total, self.since.elapsed())
            ));
        }
        ready(()).boxed()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

/// An age in one unit or two.
fn age(seconds: i64) -> String {
    crate::report::time::ticking(Duration::from_secs(seconds.max(0).unsigned_abs()))
}
