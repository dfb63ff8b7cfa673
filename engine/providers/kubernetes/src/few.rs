//! Many things, of which a few are named.

/// The first so many, and how many others there are.
pub(crate) fn few<T: ToString>(all: &[T], most: usize) -> String {
    let mut named: Vec<String> = all.iter().take(most).map(ToString::to_string).collect();
    if let Some(more) = all.len().checked_sub(most).filter(|more| *more > 0) {
        named.push(format!("and {more} others"));
    }
    named.join(", ")
}
