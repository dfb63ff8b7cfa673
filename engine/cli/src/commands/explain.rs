//! `jm explain CODE`.

use crate::args::ExplainArgs;
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::ui::Ui;

pub(super) fn explain(args: &ExplainArgs, ui: &Ui) -> Outcome {
    match jm_plan::explain(&args.code) {
        Some(text) => {
            ui.out(text);
            Ok(Exit::Done)
        }
        None => Err(
            CommandError::usage(format!("`{}` is not a code of jm's", args.code)).hint(format!(
                "the codes are: {}",
                jm_plan::codes().collect::<Vec<_>>().join(", ")
            )),
        ),
    }
}
