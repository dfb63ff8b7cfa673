//! `jm doctor --permissions`: what the steps of plans need to be allowed, whether the credentials of the targets are, and
//! what they are allowed beyond it. The targets are asked through their readers, by questions that change nothing.

mod policy;
mod report;
mod survey;

pub(in crate::commands) use policy::Policies;
pub(in crate::commands) use report::Permissions;

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::join_all;
use jm_step::connection::AnyConnection;
use jm_step::{OpenContext, Right, RunId, Secrets, Standing, StepError, Target};

use self::survey::{Found, Use};
use crate::args::DoctorArgs;
use crate::commands::{Outcome, block_on};
use crate::environment;
use crate::exit::Exit;
use crate::ui::Ui;

/// A target, and what came of asking it.
struct Asked {
    used: Use,
    /// Where its system is.
    address: Option<String>,
    /// What people should know of the target besides.
    notes: Vec<String>,
    told: Result<Vec<Right>, StepError>,
}

pub(in crate::commands) fn doctor(args: &DoctorArgs, ui: &Ui) -> Outcome {
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: environment::snapshot(),
        run: RunId::generate(),
    };
    let paths = match args.files.as_slice() {
        [] => vec![PathBuf::from("plans")],
        files => files.to_vec(),
    };
    let found = survey::take(&paths, args, &cx, ui)?;
    if args.policy {
        return block_on(policy::print(&found, args.format, &cx, ui))?;
    }
    let Found { configured, broken, .. } = found;
    for (used, target) in &configured {
        // A file that somebody gave may start anything.
        if let Some(starts) = target.starts(&cx) {
            ui.say(cx.secrets.mask(&format!("target `{}`: {starts}", used.target)));
        }
    }
    let asked = block_on(join_all(
        configured.into_iter().map(|(used, target)| ask(used, target, &cx)),
    ))?;
    let exit = exit(&asked, &broken);
    report::print(Permissions::of(&asked, &broken, &cx.secrets), args.format, ui);
    Ok(exit)
}

async fn ask(used: Use, target: Target, cx: &OpenContext) -> Asked {
    let address = target.connection.address(&target.config, cx);
    let rights = used.rights();
    let opened = open(&target, cx).await;
    let unpinned = unpinned(&used, &target, opened.as_ref().ok()).await;
    let notice = opened.as_ref().ok().and_then(|connection| connection.notice());
    let notes = unpinned.into_iter().chain(notice).collect();
    let told = match opened {
        Ok(connection) => connection.rights(&rights).await,
        Err(error) => Err(error),
    };
    Asked {
        used,
        address,
        notes,
        told,
    }
}

/// That nothing says which system a protected target has to be, with the identity that would.
async fn unpinned(used: &Use, target: &Target, opened: Option<&Arc<dyn AnyConnection>>) -> Option<String> {
    let follows = target.follows().filter(|_| used.is_protected)?;
    let identity = match opened {
        Some(connection) => connection.identity().await.ok(),
        None => None,
    };
    let now = identity.map_or_else(String::new, |identity| format!(": today that is `{identity}`"));
    Some(format!(
        "nothing says which system it has to be, and {follows} chooses it{now}; pin it by `identity` of the target"
    ))
}

async fn open(target: &Target, cx: &OpenContext) -> Result<Arc<dyn AnyConnection>, StepError> {
    target.connection.open(target.config.clone(), cx).await
}

/// The worst of it: what is missing, or could not be asked; targets that are not configured; what is there beyond the need.
fn exit(asked: &[Asked], broken: &[(Use, String)]) -> Exit {
    let any = |standing: Standing| {
        let told = asked.iter().filter_map(|asked| asked.told.as_ref().ok());
        told.flatten().any(|right| right.standing == standing)
    };
    if any(Standing::Missing) || asked.iter().any(|asked| asked.told.is_err()) {
        Exit::Failed
    } else if !broken.is_empty() {
        Exit::Invalid
    } else if any(Standing::Excess) {
        Exit::Degraded
    } else {
        Exit::Done
    }
}
