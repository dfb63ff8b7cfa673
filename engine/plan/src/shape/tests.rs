//! Schemas as schemars writes them.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Field, Kinds, Shape, fit};

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read by its schema only")]
struct Flat {
    /// One.
    one: String,
    #[serde(flatten)]
    rest: Rest,
}
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read by its schema only")]
struct Rest {
    two: Option<u32>,
}
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by its schema only")]
enum Either {
    Text(String),
    List(Vec<String>),
    Node(Box<Tree>),
}
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by its schema only")]
struct Tree {
    value: i32,
    children: Vec<Tree>,
}
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read by its schema only")]
struct Mixed {
    either: Either,
    map: std::collections::BTreeMap<String, u8>,
    any: Value,
    pair: (String, u32),
}

fn of<T: JsonSchema>() -> Value {
    jm_step::schema::of::<T>()
}

fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let violations = fit(value, Shape::root(schema), &|_| false).violations;
    violations
        .into_iter()
        .map(|violation| format!("{} {}", violation.pointer, violation.message))
        .collect()
}

#[test]
fn flattened_fields_belong_to_the_whole() {
    let schema = of::<Flat>();
    assert_eq!(problems(&schema, &json!({ "one": "x", "two": 2 })), [""; 0]);
    assert_eq!(
        problems(&schema, &json!({ "one": "x", "three": 2 })),
        ["/three there is no field `three`"]
    );
}

#[test]
fn untagged_forms_are_told_apart_by_type() {
    let schema = of::<Mixed>();
    let with = |either: Value| {
        problems(
            &schema,
            &json!({ "either": either, "map": { "a": 1 }, "any": [1], "pair": ["x", 1] }),
        )
    };
    assert_eq!(with(json!("x")), [""; 0]);
    assert_eq!(with(json!(["x"])), [""; 0]);
    assert_eq!(
        with(json!({ "value": 1, "children": [{ "value": 2, "children": [] }] })),
        [""; 0]
    );
    assert_eq!(
        with(json!([1])),
        ["/either/0 a whole number stands where text is wanted"]
    );
    assert_eq!(
        with(json!(1)),
        ["/either a whole number stands where text, a list or a mapping is wanted"]
    );
    assert_eq!(
        with(json!({ "value": 1, "children": [{ "valu": 2, "children": [] }] })),
        [
            "/either/children/0 the field `value` is missing",
            "/either/children/0/valu there is no field `valu`"
        ]
    );
}

#[test]
fn maps_and_anything_are_open() {
    let schema = of::<Mixed>();
    let shape = Shape::root(&schema);
    let Field::Declared(map) = shape.field("map") else {
        panic!("declared")
    };
    assert!(matches!(map[0].field("whatever"), Field::Declared(_)));
    let Field::Declared(any) = shape.field("any") else {
        panic!("declared")
    };
    assert!(matches!(any[0].field("whatever"), Field::Open));
    assert_eq!(any[0].kinds(), Kinds::ANY);
    assert!(matches!(shape.field("whatever"), Field::Absent));
}

#[test]
fn limits_are_kept() {
    let schema = json!({ "type": "object", "properties": {
        "n": { "type": "integer", "minimum": 1, "exclusiveMaximum": 5 },
        "t": { "type": "string", "minLength": 2, "maxLength": 3, "pattern": "^a" },
        "l": { "type": "array", "minItems": 1, "maxItems": 2, "items": { "const": "x" } },
    } });
    assert_eq!(problems(&schema, &json!({ "n": 1, "t": "ab", "l": ["x"] })), [""; 0]);
    assert_eq!(
        problems(&schema, &json!({ "n": 5, "t": "b", "l": [] })),
        [
            "/n 5 is not less than 5",
            "/t it has 1 characters, and needs 2",
            "/l the list has 0 items, and needs 1"
        ]
    );
    assert_eq!(
        problems(&schema, &json!({ "n": 0, "t": "bb", "l": ["y"] })),
        [
            "/n 0 is less than 1",
            "/t `bb` does not match `^a`",
            "/l/0 `y` is not possible here"
        ]
    );
    assert_eq!(
        problems(&schema, &json!({ "n": 1.5 })),
        ["/n a number stands where a whole number is wanted"]
    );
    assert_eq!(
        problems(&schema, &json!({ "n": 2.0 })),
        ["/n a number stands where a whole number is wanted"]
    );
}

#[test]
fn unknown_parts_are_left_open() {
    let schema = of::<Mixed>();
    let value = json!({ "either": null, "map": null, "any": null, "pair": ["x", null] });
    let unknown = ["/either", "/map", "/pair/1"];
    let fit = fit(&value, Shape::root(&schema), &|pointer| unknown.contains(&pointer));
    assert!(fit.violations.is_empty(), "{:?}", fit.violations);
    let open: Vec<&str> = fit.open.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(open, ["/either", "/map", "/pair/1"]);
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let schema =
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/a" }, { "type": "string" }] } } });
    assert_eq!(problems(&schema, &json!("x")), [""; 0]);
    assert_eq!(Shape::root(&schema).choices(), None);
    assert!(!Shape::root(&schema).is_secret());
}
