//! What inputs take.

use serde_json::{Value, json};

use crate::document::{InputSpec, InputType};
use crate::span::{Spanned, span};

fn spec(kind: InputType) -> InputSpec {
    InputSpec {
        name: Spanned::new("x".to_owned(), span(0..1)),
        kind,
        items: None,
        default: None,
        choices: None,
        pattern: None,
        min: None,
        max: None,
        description: None,
    }
}

#[test]
fn each_type_takes_its_values() {
    for (kind, good, bad) in [
        (InputType::String, json!("x"), json!(1)),
        (InputType::Integer, json!(1), json!(1.5)),
        (InputType::Number, json!(1.5), json!("1.5")),
        (InputType::Boolean, json!(true), json!("true")),
        (InputType::Array, json!([]), json!({})),
        (InputType::Object, json!({}), json!([])),
        (InputType::Duration, json!("25m"), json!("25")),
        (InputType::Timestamp, json!("2026-11-23T02:00:00Z"), json!("2026-11-23")),
        (InputType::Date, json!("2026-11-23"), json!("2026-02-30")),
        (InputType::Secret, json!("env:TOKEN"), json!("hunter2")),
    ] {
        assert_eq!(spec(kind).accepts(&good), Ok(()), "{kind:?}");
        assert!(spec(kind).accepts(&bad).is_err(), "{kind:?}");
        assert_eq!(
            InputType::ALL.iter().filter(|(name, _)| *name == kind.name()).count(),
            1
        );
    }
}

#[test]
fn text_is_read_as_the_type() {
    let read = |kind, text: &str| spec(kind).read(text);
    assert_eq!(read(InputType::String, "007"), Ok(json!("007")));
    assert_eq!(read(InputType::Integer, "7"), Ok(json!(7)));
    assert_eq!(read(InputType::Boolean, "Yes"), Ok(json!(true)));
    assert_eq!(read(InputType::Array, "a, b"), Ok(json!(["a", "b"])));
    assert_eq!(read(InputType::Array, "[1, 2]"), Ok(json!([1, 2])));
    assert_eq!(read(InputType::Object, "{\"a\": 1}"), Ok(json!({ "a": 1 })));
    assert!(read(InputType::Integer, "seven").is_err());
    assert!(read(InputType::Object, "a").is_err());
    let numbers = InputSpec {
        items: Some(InputType::Integer),
        ..spec(InputType::Array)
    };
    assert_eq!(numbers.read("1,2"), Ok(json!([1, 2])));
    assert!(numbers.read("1,x").is_err());
}

#[test]
fn bounds_are_those_of_the_type() {
    let bounded = |kind, min: Value, max: Value| InputSpec {
        min: Some(Spanned::new(min, span(0..1))),
        max: Some(Spanned::new(max, span(0..1))),
        ..spec(kind)
    };
    for (input, below, within, above) in [
        (
            bounded(InputType::Integer, json!(1), json!(3)),
            json!(0),
            json!(2),
            json!(4),
        ),
        (
            bounded(InputType::String, json!(1), json!(3)),
            json!(""),
            json!("é"),
            json!("long"),
        ),
        (
            bounded(InputType::Array, json!(1), json!(1)),
            json!([]),
            json!([1]),
            json!([1, 2]),
        ),
        (
            bounded(InputType::Duration, json!("1m"), json!("1h")),
            json!("59s"),
            json!("60m"),
            json!("61m"),
        ),
        (
            bounded(InputType::Date, json!("2026-01-01"), json!("2026-12-31")),
            json!("2025-12-31"),
            json!("2026-06-01"),
            json!("2027-01-01"),
        ),
        (
            bounded(
                InputType::Timestamp,
                json!("2026-01-01T00:00:00Z"),
                json!("2026-01-02T00:00:00Z"),
            ),
            json!("2025-12-31T23:59:59Z"),
            json!("2026-01-01T12:00:00+02:00"),
            json!("2026-01-02T00:00:01Z"),
        ),
    ] {
        assert!(input.accepts(&below).is_err(), "{below}");
        assert_eq!(input.accepts(&within), Ok(()), "{within}");
        assert!(input.accepts(&above).is_err(), "{above}");
    }
}
