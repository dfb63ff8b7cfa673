//! What claims hold and no export does.

use jm_backup::UnkeptContents;

use crate::few::few;

/// The most claims that are named.
const NAMED: usize = 10;

/// What is said where the contents of claims are nowhere in an export.
pub(crate) fn warning(unkept: &[UnkeptContents]) -> Option<String> {
    if unkept.is_empty() {
        return None;
    }
    let (s, them) = if unkept.len() == 1 { ("", "it") } else { ("s", "them") };
    Some(format!(
        "the contents of {} claim{s} are not in this backup, and a new cluster makes {them} empty: {}",
        unkept.len(),
        few(unkept, NAMED)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_named_as_can_be_read() {
        let claims = |count: usize| -> Vec<UnkeptContents> {
            let claim = |number: usize| UnkeptContents {
                namespace: "app".to_owned(),
                claim: format!("data-{number}"),
                volume: format!("pv-{number}"),
                driver: "csi.example.com".to_owned(),
                handle: format!("vol-{number}"),
            };
            (0..count).map(claim).collect()
        };
        assert_eq!(warning(&claims(0)), None);
        let one = warning(&claims(1)).expect("a warning");
        assert!(
            one.contains("of 1 claim are") && one.ends_with("app/data-0 (csi.example.com `vol-0`)"),
            "{one}"
        );
        let many = warning(&claims(12)).expect("a warning");
        assert!(
            many.contains("of 12 claims") && many.ends_with("and 2 others"),
            "{many}"
        );
        assert!(!many.contains("data-10"), "{many}");
    }
}
