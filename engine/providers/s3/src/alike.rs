//! Failures that are about more than one object: when to go on makes no sense, and what a person has to know before the end.

use std::error::Error;

use jm_client_s3::{lacks_right, meets_every_object};
use jm_step::{StepContext, StepError, StepErrorKind};

/// After so many of a kind, the next ones are hardly others.
const MANY: u64 = 100;

/// The failures of a run that others are like.
#[derive(Debug, Default)]
pub(crate) struct Alike {
    /// How many met every object.
    of_all: u64,
    /// How many were for a right that is not there: nobody but the store knows for which of the others it is.
    denied: u64,
    /// What the first of those said, until a person is told.
    untold: Option<String>,
}

impl Alike {
    pub(crate) fn take(&mut self, error: &StepError) {
        if lacks_right(error) {
            let first = || format!("{}; {}", error.message(), error.hint_text().unwrap_or_default());
            if self.denied == 0 {
                self.untold = Some(first());
            }
            self.denied += 1;
        } else if meets_every_object(error) && !is_of_this_machine(error) {
            self.of_all += 1;
        }
    }

    /// Whether what is left would fail as well, where nothing went well before. A denial is no sign of that: it may be about
    /// one folder, and costs a request.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.of_all >= MANY
    }

    /// Tells a person while there is time to give the right. `what` are such as keys.
    pub(crate) async fn tell(&mut self, cx: &StepContext, what: &str) -> Result<(), StepError> {
        match self.untold.take_if(|_| self.denied >= MANY) {
            Some(first) => {
                let reason = format!("{MANY} {what} were denied, and all others are tried; the first: {first}");
                cx.degraded(reason).await
            }
            None => Ok(()),
        }
    }
}

/// A folder that may not be written says nothing of the others.
fn is_of_this_machine(error: &StepError) -> bool {
    let by_system = error.source().is_some_and(<dyn Error>::is::<std::io::Error>);
    by_system && error.kind() == StepErrorKind::Denied
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;

    #[test]
    fn what_one_folder_denies_is_no_sign_of_others_and_no_answer_is() {
        let of_folder = || file::failed("write", "f".as_ref(), std::io::ErrorKind::PermissionDenied.into());
        let no_answer = || StepError::unavailable("no answer").source(std::io::Error::other("reset"));
        for (error, is_hopeless) in [(&of_folder as &dyn Fn() -> StepError, false), (&no_answer, true)] {
            let mut alike = Alike::default();
            (0..MANY).for_each(|_| alike.take(&error()));
            assert_eq!(alike.is_hopeless(), is_hopeless, "{}", error());
        }
    }
}
