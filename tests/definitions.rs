//! What is committed says what the types say: the definitions, the example and the README.

use std::path::{Path, PathBuf};

use kube::ResourceExt as _;
use transship::api::{self, ImageMirror};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_committed_definitions_are_those_of_the_types() {
    let definitions = api::definitions().unwrap();
    for directory in ["crds", "charts/transship/files/crds"] {
        let directory = repository(directory);
        assert_eq!(
            std::fs::read_dir(&directory).unwrap().count(),
            definitions.len()
        );
        for definition in &definitions {
            let path = directory.join(format!("{}.yaml", definition.name_any()));
            let expected = serde_saphyr::to_string(definition).unwrap();
            assert_eq!(
                read(&path),
                expected,
                "{} has drifted: run `make definitions`",
                path.display()
            );
        }
    }
}

#[test]
fn the_reference_is_made_from_the_types() {
    for definition in api::definitions().unwrap() {
        let kind = definition.spec.names.kind.to_lowercase();
        let path = repository(&format!("docs/reference/{kind}.md"));
        assert_eq!(
            read(&path),
            api::reference(&definition),
            "{} has drifted: run `make definitions`",
            path.display()
        );
    }
}

/// What a person types has an example in its description; yes or no needs none.
#[test]
fn every_field_of_the_spec_has_an_example() {
    let mut problems = Vec::new();
    for definition in serde_json::to_value(api::definitions().unwrap())
        .unwrap()
        .as_array()
        .unwrap()
    {
        let spec =
            &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        check_examples(spec, "spec", &mut problems);
    }
    assert_eq!(problems, Vec::<String>::new());
}

fn check_examples(schema: &serde_json::Value, path: &str, problems: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let description = property["description"].as_str().unwrap_or_default();
        let typed = property["type"] == "string" || property["type"] == "integer";
        let chosen = !property["enum"].is_null() || !property["default"].is_null();
        if typed && !chosen && !description.contains('`') {
            problems.push(format!("{path}: {description}"));
        }
        check_examples(property, &path, problems);
        check_examples(&property["items"], &path, problems);
    }
}

#[test]
fn every_field_is_described_and_every_string_and_list_is_bounded() {
    let definitions = serde_json::to_value(api::definitions().unwrap()).unwrap();
    let mut problems = Vec::new();
    for definition in definitions.as_array().unwrap() {
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        check_schema(schema, "", &mut problems);
    }
    assert_eq!(problems, Vec::<String>::new());
}

fn check_schema(schema: &serde_json::Value, path: &str, problems: &mut Vec<String>) {
    // The fields of Kubernetes' own condition type are not ours to bound.
    if path.ends_with(".conditions[]") {
        return;
    }
    if schema["type"] == "array" && schema["maxItems"].is_null() {
        problems.push(format!("{path}: no maxItems"));
    }
    let is_open_string =
        schema["type"] == "string" && schema["enum"].is_null() && schema["format"].is_null();
    if is_open_string && schema["maxLength"].is_null() {
        problems.push(format!("{path}: no maxLength"));
    }
    if schema["type"] == "array" && schema["x-kubernetes-list-type"].is_null() {
        problems.push(format!("{path}: no list type"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if property["description"].is_null() {
            problems.push(format!("{path}: no description"));
        }
        check_schema(property, &path, problems);
    }
    if schema["items"].is_object() {
        check_schema(&schema["items"], &format!("{path}[]"), problems);
    }
}

#[test]
fn the_examples_and_the_manifest_of_the_readme_are_mirrors() {
    for (file, name) in [("mirror", "debian"), ("repository", "nginx")] {
        let text = read(&repository(&format!("examples/{file}.yaml")));
        let example: ImageMirror = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(example.name_any(), name);
    }
    let readme = read(&repository("README.md"));
    let (_, manifest) = readme.split_once("```yaml\n").unwrap();
    let (manifest, _) = manifest.split_once("```").unwrap();
    let mirror: ImageMirror = serde_saphyr::from_str(manifest).unwrap();
    assert_eq!(
        mirror.spec.destinations[0].prefix,
        "registry.corp.example/mirror"
    );
}
