//! Bad specs made from the schema: for every field each way to break what the schema says of it. A field that
//! is added to the schema is broken from then on.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};
use transship::api;

use super::BadSpec;

/// What nobody means, where a pattern says what is meant.
const NONSENSE: [&str; 12] = [
    " ",
    "a b",
    "A B",
    "é",
    "a\nb",
    "../x",
    "$(id)",
    "https://x.example/y",
    "-",
    ".",
    "%41",
    "{unknown}",
];

/// All variations of `good` with one thing wrong. Every field of the schema must be in it.
pub(super) fn variations(good: &Value) -> Vec<BadSpec> {
    let definition = serde_json::to_value(api::definitions().unwrap().swap_remove(0)).unwrap();
    let schema =
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut generator = Generator {
        good,
        specs: Vec::new(),
        seen: BTreeSet::new(),
    };
    generator.visit(schema, "", "spec", "spec");
    let mut all = BTreeSet::new();
    list_fields(schema, "spec", &mut all);
    let missing: Vec<_> = all.difference(&generator.seen).collect();
    assert!(missing.is_empty(), "the good spec lacks {missing:?}");
    generator.specs
}

/// Every field of a schema, with `[]` for the entries of a list.
fn list_fields(schema: &Value, field: &str, all: &mut BTreeSet<String>) {
    all.insert(field.to_owned());
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        list_fields(property, &format!("{field}.{name}"), all);
    }
    if schema["items"].is_object() {
        list_fields(&schema["items"], &format!("{field}[]"), all);
    }
}

struct Generator<'a> {
    good: &'a Value,
    specs: Vec<BadSpec>,
    /// The fields that were broken, with `[]` for the entries of a list.
    seen: BTreeSet<String>,
}

impl Generator<'_> {
    /// Breaks the value at `pointer`, and all below it.
    fn visit(&mut self, schema: &Value, pointer: &str, path: &str, field: &str) {
        let Some(value) = self.good.pointer(pointer).cloned() else {
            return;
        };
        self.seen.insert(field.to_owned());
        for (what, broken) in broken(schema, &value) {
            self.add(&what, pointer, path, broken);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let below = format!("{pointer}/{name}");
            self.visit(
                property,
                &below,
                &format!("{path}.{name}"),
                &format!("{field}.{name}"),
            );
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            let name = required.as_str().unwrap();
            let mut without = value.clone();
            without.as_object_mut().unwrap().remove(name);
            self.add(
                "required, but missing",
                pointer,
                &format!("{path}.{name}"),
                without,
            );
        }
        if schema["properties"].is_object() {
            let mut more = value.clone();
            more["nonsense"] = json!("x");
            self.add("unknown", pointer, &format!("{path}.nonsense"), more);
        }
        if schema["additionalProperties"].is_object() {
            for (name, _) in value.as_object().unwrap() {
                let below = format!("{pointer}/{name}");
                for (what, broken) in broken(&schema["additionalProperties"], &value[name]) {
                    self.add(&what, &below, &format!("{path}.{name}"), broken);
                }
            }
        }
        for index in 0..value.as_array().map_or(0, Vec::len) {
            let below = format!("{pointer}/{index}");
            self.visit(
                &schema["items"],
                &below,
                &format!("{path}[{index}]"),
                &format!("{field}[]"),
            );
        }
    }

    fn add(&mut self, what: &str, pointer: &str, field: &str, broken: Value) {
        let mut spec = self.good.clone();
        *spec.pointer_mut(pointer).unwrap() = broken;
        self.specs.push(BadSpec {
            what: format!("{field} is {what}"),
            field: field.to_owned(),
            spec,
        });
    }
}

/// Each way in which a value can break its schema, but for what is inside of it.
fn broken(schema: &Value, value: &Value) -> Vec<(String, Value)> {
    let kind = schema["type"].as_str().unwrap_or_default();
    let mut broken: Vec<(String, Value)> = [
        json!("text"),
        json!(7),
        json!(1.5),
        json!(true),
        json!([]),
        json!({}),
    ]
    .into_iter()
    .filter(|other| kind_of(other) != kind)
    .map(|other| (format!("{}, not {kind}", kind_of(&other)), other))
    .collect();
    if let Some(choices) = schema["enum"].as_array() {
        let text = value.as_str().unwrap();
        let (lower, upper) = (text.to_lowercase(), text.to_uppercase());
        for nonsense in ["", "Nonsense", &lower, &upper, &format!("{text} ")] {
            if !choices.iter().any(|choice| choice == nonsense) {
                broken.push((format!("{nonsense:?}, no choice"), json!(nonsense)));
            }
        }
    } else if let Some(pattern) = schema["pattern"].as_str() {
        let pattern = Regex::new(pattern).unwrap();
        for nonsense in NONSENSE.iter().filter(|text| !pattern.is_match(text)) {
            broken.push((format!("{nonsense:?}"), json!(nonsense)));
        }
    }
    broken.extend(out_of_bounds(schema, value));
    broken
}

fn out_of_bounds(schema: &Value, value: &Value) -> Vec<(String, Value)> {
    let bound = |name: &str| {
        schema[name]
            .as_f64()
            .map(|bound| format!("{bound:.0}").parse::<i64>().unwrap())
    };
    let length = |name: &str| {
        schema[name]
            .as_u64()
            .map(|bound| usize::try_from(bound).unwrap())
    };
    let mut broken = Vec::new();
    if let Some(least) = bound("minimum") {
        broken.push(("too small".to_owned(), json!(least - 1)));
    }
    if let Some(most) = bound("maximum") {
        broken.push(("too large".to_owned(), json!(most + 1)));
        broken.push(("far too large".to_owned(), json!(i64::MAX)));
    }
    if let Some(most) = length("maxLength") {
        broken.push(("too long".to_owned(), json!("a".repeat(most + 1))));
    }
    if length("minLength").is_some_and(|least| least > 0) {
        broken.push(("empty".to_owned(), json!("")));
    }
    if let Some(items) = value.as_array() {
        if length("minItems").is_some_and(|least| least > 0) {
            broken.push(("without entries".to_owned(), json!([])));
        }
        if let Some(most) = length("maxItems") {
            broken.push((
                "of too many entries".to_owned(),
                json!(vec![items[0].clone(); most + 1]),
            ));
        }
    }
    if let Some(most) = length("maxProperties") {
        let many = (0..=most).map(|number| (format!("k{number}"), json!("v")));
        broken.push((
            "of too many members".to_owned(),
            Value::Object(many.collect()),
        ));
    }
    broken
}

/// The type of a value, as a schema calls it.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
