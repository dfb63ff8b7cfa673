//! Step types that run programs.

use jm_step::Provider;

mod capture;
mod program;
mod run;

/// `command.run`.
pub fn provider() -> Provider {
    Provider::new("command").step(run::Run)
}
