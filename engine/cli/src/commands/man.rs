//! `jm man`.

use clap::CommandFactory;

use crate::args::{Arguments, ManArgs};
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::project;
use crate::ui::Ui;

pub(super) fn man(args: &ManArgs, ui: &Ui) -> Outcome {
    if let Some(directory) = &args.write {
        let cannot = |error: std::io::Error| {
            CommandError::usage(format!("cannot write to {}", directory.display())).cause(&error)
        };
        project::make_directory(directory).map_err(cannot)?;
        clap_mangen::generate_to(Arguments::command(), directory).map_err(cannot)?;
        ui.say(format!(
            "written to {}: `man jm`, `man jm-plan-run`, …",
            directory.display()
        ));
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command())
            .render(&mut page)
            .map_err(|error| CommandError::new(Exit::Bug, "the page cannot be made").cause(&error))?;
        ui.out(String::from_utf8_lossy(&page).trim_end());
    }
    Ok(Exit::Done)
}
