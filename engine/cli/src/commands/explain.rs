//! `jm explain CODE`.

use serde_json::json;

use crate::args::{ExplainArgs, Format};
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::ui::Ui;

pub(super) fn explain(args: &ExplainArgs, ui: &Ui) -> Outcome {
    match jm_plan::explain(&args.code) {
        Some(text) => {
            match args.format {
                Format::Human => ui.out(text),
                Format::Json => ui.out(format!(
                    "{:#}",
                    json!({ "version": 1, "code": jm_plan::full_code(&args.code), "text": text })
                )),
            }
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
