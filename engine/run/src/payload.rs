//! Values on their way into and out of the journal: the large ones go through files, and none holds a secret.

use std::sync::Arc;

use jm_step::{ErrorSummary, Secrets, StepError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::files::RunFiles;
use crate::journal::Payload;

/// What is larger than this, in bytes, becomes an artefact. Two such values and an error fit into a record.
pub(crate) const INLINE: usize = 16 * 1024;
/// The longest text for people in a record, in bytes. A record holds a handful of them beside its changes.
const LONGEST_TEXT: usize = 2 * 1024;

/// The longest evidence in a record, in bytes as JSON: some pods, their events and the last lines of a log.
const LONGEST_EVIDENCE: usize = 6 * 1024;

/// Makes a value fit for the journal.
pub(crate) async fn store<T: Serialize>(
    files: &Arc<dyn RunFiles>,
    name: &str,
    value: T,
    text: String,
) -> Result<Payload<T>, StepError> {
    if text.len() <= INLINE {
        return Ok(Payload::Inline(value));
    }
    let (files, name) = (files.clone(), name.to_owned());
    let kept = tokio::task::spawn_blocking(move || files.put(&name, text.as_bytes())).await;
    match kept {
        Ok(Ok(artefact)) => Ok(Payload::Artefact(artefact)),
        Ok(Err(error)) => Err(StepError::failed("cannot keep a large value in the run's directory").source(error)),
        Err(_) => Err(StepError::cancelled("the run is over")),
    }
}

/// The text of a value, refused where it holds a known secret.
pub(crate) fn clean(secrets: &Secrets, what: &str, value: &Value) -> Result<String, StepError> {
    // Text by text: as a whole, what a program printed as JSON would stand there escaped twice, and not be found.
    if secrets.occur_in_json(value) {
        return Err(
            StepError::failed(format!("the {what} holds a secret, and so cannot be kept"))
                .hint("leave the secret out of it: what is kept can be read in the journal"),
        );
    }
    Ok(value.to_string())
}

/// The value of a payload.
pub fn load<T: Clone + DeserializeOwned>(files: &dyn RunFiles, payload: &Payload<T>) -> Result<T, StepError> {
    match payload {
        Payload::Inline(value) => Ok(value.clone()),
        Payload::Artefact(artefact) => {
            let gone = |error: Box<dyn std::error::Error + Send + Sync>| {
                StepError::failed(format!("artefact `{}` cannot be read", artefact.name)).source(error)
            };
            let content = files.get(artefact).map_err(|error| gone(error.into()))?;
            serde_json::from_slice(&content).map_err(|error| gone(error.into()))
        }
    }
}

/// An error as it may be written down: masked, and short enough for a record.
pub(crate) fn presentable(secrets: &Secrets, mut error: ErrorSummary) -> ErrorSummary {
    let fit = |text: &str| words(secrets, text);
    error.message = fit(&error.message);
    error.hint = error.hint.as_deref().map(fit);
    error.causes = error.causes.iter().take(4).map(|cause| fit(cause)).collect();
    if let Some(evidence) = &mut error.evidence {
        secrets.mask_json(evidence);
        let text = evidence.to_string();
        if text.len() > LONGEST_EVIDENCE {
            *evidence = Value::String(shorten(&text));
        }
    }
    error
}

/// Text for people as it may be written down: masked, without control characters, and short enough for a record.
pub(crate) fn words(secrets: &Secrets, text: &str) -> String {
    shorten(&secrets.mask(text))
}

fn shorten(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            '\u{fffd}'
        } else {
            c
        }
    };
    if text.len() <= LONGEST_TEXT {
        return text.chars().map(shown).collect();
    }
    let head = text.floor_char_boundary(LONGEST_TEXT / 2);
    let tail = text.ceil_char_boundary(text.len() - LONGEST_TEXT / 2);
    let kept = text[..head].chars().chain(" […] ".chars()).chain(text[tail..].chars());
    kept.map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_masked_and_short() {
        let secrets = Secrets::new();
        secrets.register("hunter22");
        let long = format!("hunter22 {}", "é".repeat(10_000));
        let error = StepError::failed(long)
            .hint("not hunter22")
            .evidence(serde_json::json!({ "line": "hunter22" }));
        let shown = presentable(&secrets, error.summary());
        let text = serde_json::to_string(&shown).expect("JSON");
        assert!(!text.contains("hunter22") && text.len() < 3 * LONGEST_TEXT, "{text}");
        assert!(shown.message.starts_with("[secret]") && shown.message.contains("[…]"));
    }

    #[test]
    fn the_longest_error_that_there_can_be_fits_into_a_record() {
        let nasty = "\u{1}\"\\".repeat(50_000);
        let mut error = StepError::failed(nasty.clone())
            .hint(nasty.clone())
            .evidence(nasty.clone().into())
            .summary();
        error.causes = vec![nasty; 20];
        let text = serde_json::to_string(&presentable(&Secrets::new(), error)).expect("JSON");
        assert!(text.len() + INLINE < crate::journal::MAX_RECORD, "{}", text.len());
    }
}
