//! Stamps: ids that sort by the order in which they were given out.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::locked;

/// An id that is greater than every id given out before it, also by an earlier process.
///
/// A version's stamp is its version id, so that a place in a history can be found again when the version
/// that marked it is gone: paging goes on where it stood although what was listed has been deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Stamp(Ulid);

impl FromStr for Stamp {
    type Err = ulid::DecodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ulid::from_string(text).map(Self)
    }
}

impl TryFrom<String> for Stamp {
    type Error = ulid::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Stamp> for String {
    fn from(stamp: Stamp) -> Self {
        stamp.to_string()
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The source of stamps: one for a store.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    last: Mutex<Ulid>,
}

impl Stamps {
    /// A stamp greater than all before it, whatever the clock does.
    pub(crate) fn next(&self) -> Stamp {
        let mut last = locked(&self.last);
        let fresh = Ulid::new();
        *last = if fresh > *last { fresh } else { after(*last) };
        Stamp(*last)
    }

    /// Takes note of a stamp found on disk: none that comes later is smaller.
    pub(crate) fn observe(&self, stamp: Stamp) {
        let mut last = locked(&self.last);
        *last = (*last).max(stamp.0);
    }
}

/// The id that follows; the next millisecond's first one where the random part is used up.
fn after(id: Ulid) -> Ulid {
    id.increment()
        .unwrap_or_else(|| Ulid::from_parts(id.timestamp_ms() + 1, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_although_the_clock_goes_back() {
        let stamps = Stamps::default();
        let future = Stamp(Ulid::from_parts(1 << 47, 7));
        stamps.observe(future);
        let next = stamps.next();
        assert!(next > future);
        assert!(stamps.next() > next);
    }

    #[test]
    fn a_used_up_random_part_goes_on_with_the_next_millisecond() {
        let full = Ulid::from_parts(5, (1 << 80) - 1);
        assert!(after(full) > full);
    }

    #[test]
    fn text_round_trips() {
        let stamp = Stamps::default().next();
        assert_eq!(stamp.to_string().parse::<Stamp>().unwrap(), stamp);
        assert!("no stamp".parse::<Stamp>().is_err());
    }
}
