//! `jm explain CODE`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{ExplainArgs, Format};
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::report::document::Document;
use crate::ui::Ui;

/// What a code means and what to do about it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Explanation {
    /// Its whole name.
    code: &'static str,
    text: &'static str,
}

pub(super) fn explain(args: &ExplainArgs, ui: &Ui) -> Outcome {
    let known = jm_plan::full_code(&args.code).zip(jm_plan::explain(&args.code));
    let Some((code, text)) = known else {
        let codes: Vec<&str> = jm_plan::codes().collect();
        return Err(CommandError::usage(format!("`{}` is not a code of jm's", args.code))
            .hint(format!("the codes are: {}", codes.join(", "))));
    };
    match args.format {
        Format::Human => ui.out_hanging("", text),
        Format::Json => Document::of(Explanation { code, text }).print(ui),
    }
    Ok(Exit::Done)
}
