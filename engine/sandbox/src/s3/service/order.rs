//! Versions and markers in one row. S3 lists both in the order in which they came to be; the protocol's library writes
//! all markers of a page and then all of its versions, so the page is put into order once it is written.

use super::super::store::Listed;

const MARKER: (&str, &str) = ("<DeleteMarker>", "</DeleteMarker>");
const VERSION: (&str, &str) = ("<Version>", "</Version>");

/// Which entries of a page are markers, in the order of the page. Travels beside the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Order(Vec<bool>);

impl Order {
    /// That of a page.
    pub(super) fn of(page: &[Listed]) -> Self {
        Self(page.iter().map(|one| one.version.object.is_none()).collect())
    }

    /// The page with its entries in this order, at the place of the first; none where they are not those of the page.
    pub(in super::super) fn apply(&self, page: &str) -> Option<String> {
        let (markers, rest) = taken(page, MARKER);
        let (versions, rest) = taken(&rest, VERSION);
        let (mut markers, mut versions) = (markers.into_iter(), versions.into_iter());
        let mut entries = String::with_capacity(page.len());
        for marker in &self.0 {
            entries.push_str(if *marker { markers.next()? } else { versions.next()? });
        }
        let whole = markers.next().is_none() && versions.next().is_none();
        let place = rest.rfind("</")?;
        whole.then(|| format!("{}{entries}{}", &rest[..place], &rest[place..]))
    }
}

/// All elements of one name, and the page without them. Names inside of texts are escaped, so that they look otherwise.
fn taken<'p>(page: &'p str, (start, end): (&str, &str)) -> (Vec<&'p str>, String) {
    let (mut found, mut rest, mut left) = (Vec::new(), String::new(), page);
    while let Some(from) = left.find(start) {
        let Some(length) = left[from..].find(end) else { break };
        let to = from + length + end.len();
        found.push(&left[from..to]);
        rest.push_str(&left[..from]);
        left = &left[to..];
    }
    rest.push_str(left);
    (found, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<R><DeleteMarker>m1</DeleteMarker><DeleteMarker>m2</DeleteMarker><Name>&lt;Version></Name>\
                        <Version>v1<VersionId>1</VersionId></Version><VersionIdMarker>x</VersionIdMarker></R>";

    #[test]
    fn entries_come_in_their_order_and_nothing_else_is_lost() {
        let page = Order(vec![true, false, true]).apply(PAGE).expect("applied");
        assert_eq!(
            page,
            "<R><Name>&lt;Version></Name><VersionIdMarker>x</VersionIdMarker><DeleteMarker>m1</DeleteMarker>\
             <Version>v1<VersionId>1</VersionId></Version><DeleteMarker>m2</DeleteMarker></R>"
        );
    }

    #[test]
    fn another_page_is_refused() {
        for order in [
            vec![true, false],
            vec![true, true, true],
            vec![true, true, false, false],
        ] {
            assert_eq!(Order(order).apply(PAGE), None);
        }
        assert_eq!(Order(Vec::new()).apply("<R></R>").as_deref(), Some("<R></R>"));
    }
}
