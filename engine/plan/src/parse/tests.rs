//! Parsing whatever comes.

use proptest::prelude::*;

use super::{did_you_mean, parse};
use crate::testing::{PAGE_PLAN, compiled, page_registry, targets};
use crate::{Arguments, Mode, compile, parse_targets};

#[test]
fn names_that_are_near_are_found() {
    let known = ["restore", "verify", "switch"];
    assert_eq!(did_you_mean("restor", known), Some("restore"));
    assert_eq!(did_you_mean("verfiy", known), Some("verify"));
    assert_eq!(did_you_mean("something", known), None);
    assert_eq!(did_you_mean("x", ["a", "b"]), None);
    assert_eq!(did_you_mean("post", ["postgres.verify"]), Some("postgres.verify"));
}

/// The page's plan with some of its text replaced.
fn damaged(at: usize, length: usize, with: &str) -> String {
    let clamp = |at: usize| {
        (0..=at.min(PAGE_PLAN.len()))
            .rev()
            .find(|at| PAGE_PLAN.is_char_boundary(*at))
            .unwrap_or(0)
    };
    let (start, end) = (clamp(at), clamp(at + length));
    format!("{}{with}{}", &PAGE_PLAN[..start], &PAGE_PLAN[end..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_plan_never_makes_it_panic(at in 0usize..4600, length in 0usize..30, with in r#"[ \n:\[\]{}$'"a-z|&*.-]{0,12}"#) {
        let (document, errors) = parse("plan.yaml", &damaged(at, length, &with));
        let result = compile(&document, &page_registry(), &Arguments::none(), None, Mode::Validate, crate::testing::now());
        // What parsing found is told again, and nothing that it found becomes a plan.
        if errors.iter().any(crate::error::is_error) {
            let all = result.expect_err("invalid");
            prop_assert!(all.errors().len() >= errors.len());
            for error in all.errors() {
                prop_assert!(crate::explain(error.code()).is_some());
                prop_assert!(!error.message().is_empty());
                prop_assert!(error.place().is_none_or(|place| place.line <= 200));
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        drop(parse("plan.yaml", &text));
        drop(parse_targets("targets.yaml", &text));
        drop(compiled(&format!("apiVersion: jm/v1\nname: x\nsteps: {text}")));
        drop(parse_targets("targets.yaml", &targets(&format!("targets: {text}"))));
    }
}
