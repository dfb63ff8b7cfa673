//! `jm plan graph`.

use jm_plan::{Arguments, Mode, export};

use crate::args::{GraphArgs, GraphFormat};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::session;
use crate::ui::Ui;

pub(in crate::commands) fn graph(args: &GraphArgs, ui: &Ui) -> Outcome {
    let registry = crate::providers::registry();
    let source = session::Source::read(&args.plan, args.targets.as_deref())?;
    let plan = source.compile(&registry, &Arguments::none(), Mode::Validate, ui)?;
    ui.out(match args.format {
        GraphFormat::Mermaid => export::mermaid(&plan),
        GraphFormat::Dot => export::dot(&plan),
        GraphFormat::Text => export::text(&plan),
    });
    Ok(Exit::Done)
}
