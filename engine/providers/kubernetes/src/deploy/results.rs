//! What became of each object, kept among the run's files, however the deployment ended.

use jm_step::{ArtefactRef, StepContext, StepError};

use super::{Counts, Done};

/// What a deployment leaves to be told.
pub(crate) struct Kept {
    pub(crate) counts: Counts,
    /// How many objects held what jm itself had written later.
    pub(crate) newer: u64,
    /// Whether any object was not there when the step came to it first, in whichever attempt.
    pub(crate) made: bool,
    /// A line of JSON for each object.
    pub(crate) results: ArtefactRef,
}

/// Keeps the results. An error says where they are: which objects were done is what is asked first.
pub(super) async fn keep(cx: &StepContext, done: Done, ended: Result<(), StepError>) -> Result<Kept, StepError> {
    let Done {
        counts,
        newer,
        made,
        results,
        ..
    } = done;
    match ended {
        Ok(()) => Ok(Kept {
            counts,
            newer,
            made,
            results: cx.artefact("objects.jsonl", results).await?,
        }),
        Err(error) if results.is_empty() => Err(error),
        Err(error) => match cx.artefact("objects.jsonl", results).await {
            Ok(results) => Err(pointing(error, cx, &results)),
            // What has failed first is what has to be mended.
            Err(_) => Err(error),
        },
    }
}

fn pointing(error: StepError, cx: &StepContext, results: &ArtefactRef) -> StepError {
    let place = format!(
        "what became of each object until then stands in `artefacts/{}` of run `{}`",
        results.sha256,
        cx.run().id
    );
    let hint = match error.hint_text() {
        Some(hint) => format!("{hint}; {place}"),
        None => place,
    };
    error.hint(hint)
}
