//! Secrets that stand in a file are pointed at, and not shown: a finding's picture of the file ends in the logs of CI.

use std::collections::HashMap;
use std::ops::Range;

use crate::error::PlanError;
use crate::span::{self, Source};

/// Stands for each byte, so that every place stays where it was.
const MASK: char = '*';

/// Has every finding show its file without the secrets that were found in any.
pub(crate) fn secrets(found: &mut [PlanError]) {
    let mut secrets: HashMap<String, Vec<Range<usize>>> = HashMap::new();
    for (source, spans) in found
        .iter()
        .filter(|error| error.is_secret())
        .filter_map(PlanError::spans)
    {
        secrets.entry(source.name().to_owned()).or_default().extend(spans);
    }
    let mut masked: HashMap<String, Source> = HashMap::new();
    for error in found {
        let Some(source) = error.source_mut() else { continue };
        if let Some(spans) = secrets.get(source.name()) {
            let name = source.name().to_owned();
            let without = || span::source(&name, &mask(source.inner(), spans));
            *source = masked.entry(name.clone()).or_insert_with(without).clone();
        }
    }
}

/// Lines stay lines.
fn mask(text: &str, spans: &[Range<usize>]) -> String {
    let mut masked = String::with_capacity(text.len());
    for (at, char) in text.char_indices() {
        let is_secret = char != '\n' && spans.iter().any(|span| span.contains(&at));
        if is_secret {
            masked.extend(std::iter::repeat_n(MASK, char.len_utf8()));
        } else {
            masked.push(char);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_keeps_its_place() {
        let text = "a: gëheim\nb: |\n  one\n  two\nc: ü";
        let (first, second) = (text.find("gë").expect("there"), text.find("one").expect("there"));
        let masked = mask(text, &[first..first + 7, second..second + 9]);
        assert_eq!(masked, "a: *******\nb: |\n  ***\n*****\nc: ü");
        assert_eq!(masked.len(), text.len());
    }
}
