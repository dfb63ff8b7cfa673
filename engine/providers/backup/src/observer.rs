//! What the work on a backup is told to, and what it is done with.

use jm_backup::Toolbox;
pub(crate) use jm_backup::{Committing, Told, until_cancelled};
use jm_step::ReadContext;

pub(crate) fn toolbox(cx: &ReadContext) -> Toolbox {
    Toolbox::of(cx)
}
