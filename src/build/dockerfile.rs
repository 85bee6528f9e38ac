//! What a Dockerfile builds upon. Pure: text in, names of images out.
//!
//! Builders read Dockerfiles with their own parsers, and have the last word. Here it is only found out which images
//! to look at: what cannot be told is left out.

use std::collections::{BTreeMap, BTreeSet};

use parse_dockerfile::{Dockerfile, Instruction};

/// The image that has nothing in it, and is nowhere.
const SCRATCH: &str = "scratch";
/// Most images that are looked at.
const MAX_IMAGES: usize = 32;

/// What a Dockerfile builds upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseImages {
    /// The images that are named, each once, in the order in which they stand.
    pub names: Vec<String>,
    /// What names an image, but does not say which.
    pub unclear: Vec<String>,
    /// Whether the text is no Dockerfile that can be understood, so that nothing is known of it.
    pub is_unreadable: bool,
}

impl BaseImages {
    /// Adds the image that `text` names, unless it is a stage.
    fn add(
        &mut self,
        text: &str,
        values: &BTreeMap<String, String>,
        is_stage: impl Fn(&str) -> bool,
    ) {
        match expand(text, values) {
            None => self.unclear.push(text.to_owned()),
            Some(name) if name == SCRATCH || is_stage(&name) || self.names.contains(&name) => {}
            Some(_) if self.names.len() >= MAX_IMAGES => self.unclear.push(text.to_owned()),
            Some(name) => self.names.push(name),
        }
    }
}

/// The images that `FROM`, `COPY --from` and `RUN --mount=from=` name. `arguments` are the values of build arguments.
/// A text that is no Dockerfile has none: the builder says what is wrong with it.
#[must_use]
pub fn base_images(text: &str, arguments: &BTreeMap<String, String>) -> BaseImages {
    let mut images = BaseImages::default();
    let Ok(dockerfile) = parse_dockerfile::parse(text) else {
        images.is_unreadable = true;
        return images;
    };
    images
        .unclear
        .extend(frontend(text, &dockerfile, arguments));
    let values = values(&dockerfile, arguments);
    let mut stages = BTreeSet::new();
    for (number, stage) in dockerfile.stages().enumerate() {
        images.add(&stage.from.image.value, &values, |name| {
            stages.contains(name)
        });
        for named in stage.instructions.iter().flat_map(images_of) {
            images.add(&named, &values, |name| {
                stages.contains(name) || name.parse::<usize>().is_ok()
            });
        }
        if let Some((_, name)) = &stage.from.as_ {
            stages.insert(name.value.to_string());
        }
        stages.insert(number.to_string());
    }
    images
}

/// What names an image that BuildKit runs to read the Dockerfile, and that no instruction names. The forms that begin
/// with `//` or are JSON are none that can be understood.
fn frontend(
    text: &str,
    dockerfile: &Dockerfile<'_>,
    arguments: &BTreeMap<String, String>,
) -> Option<String> {
    const ARGUMENT: &str = "BUILDKIT_SYNTAX";
    let directive = dockerfile.parser_directives.syntax.as_ref();
    let directive = directive.map(|syntax| format!("# syntax={}", syntax.value.value));
    let argument = arguments
        .get(ARGUMENT)
        .map(|image| format!("{ARGUMENT}={image}"));
    // Behind it BuildKit looks for the directive, and others do not.
    let interpreter = text
        .starts_with("#!")
        .then(|| "behind the line with #!".to_owned());
    directive.or(argument).or(interpreter)
}

/// What an instruction takes files from.
fn images_of(instruction: &Instruction<'_>) -> Vec<String> {
    let (options, option) = match instruction {
        Instruction::Copy(copy) => (&copy.options, "from"),
        Instruction::Run(run) => (&run.options, "mount"),
        _ => return Vec::new(),
    };
    let values = options
        .iter()
        .filter(|found| found.name.value == option)
        .filter_map(|found| found.value.as_ref());
    let sources = values.filter_map(|value| {
        let value: &str = &value.value;
        if option == "from" {
            return Some(value);
        }
        value.split(',').find_map(|part| part.strip_prefix("from="))
    });
    sources.map(str::to_owned).collect()
}

/// The values that `FROM` may use: those of arguments before the first of them.
fn values(
    dockerfile: &Dockerfile<'_>,
    arguments: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for argument in dockerfile.global_args() {
        for declared in argument.arguments.value.split_whitespace() {
            let (name, default) = match declared.split_once('=') {
                Some((name, default)) => (name, Some(default.trim_matches(['"', '\'']))),
                None => (declared, None),
            };
            let default = default.and_then(|default| expand(default, &values));
            if let Some(value) = arguments.get(name).cloned().or(default) {
                values.insert(name.to_owned(), value);
            }
        }
    }
    values
}

/// `text` with `$NAME`, `${NAME}` and `${NAME:-default}` replaced; [`None`] when one has no value.
fn expand(text: &str, values: &BTreeMap<String, String>) -> Option<String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, default, behind) = if let Some(inner) = after.strip_prefix('{') {
            let (inner, behind) = inner.split_once('}')?;
            let (name, default) = match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inner, None),
            };
            (name, default, behind)
        } else {
            let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
            let end = after
                .find(|character| !is_name(character))
                .unwrap_or(after.len());
            let (name, behind) = after.split_at(end);
            (name, None, behind)
        };
        let value = values
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty());
        expanded.push_str(value.or(default)?);
        rest = behind;
    }
    expanded.push_str(rest);
    Some(expanded).filter(|expanded| !expanded.is_empty())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("FROM alpine:3.22\nRUN true\n", &["alpine:3.22"])]
    #[case::scratch("FROM scratch\nCOPY a /\n", &[])]
    #[case::stages("FROM golang:1 AS build\nFROM build AS test\nFROM alpine\nCOPY --from=build /a /\n", &["golang:1", "alpine"])]
    #[case::copied("FROM alpine\nCOPY --from=busybox:1 /bin/sh /\nCOPY --from=0 /a /b\n", &["alpine", "busybox:1"])]
    #[case::argument("ARG BASE\nFROM ${BASE}\n", &["given:1"])]
    #[case::default("ARG TAG=3.22\nFROM alpine:$TAG\n", &["alpine:3.22"])]
    #[case::default_in_place("FROM alpine:${TAG:-3}\n", &["alpine:3"])]
    #[case::nested("ARG NAME=alpine\nARG IMAGE=\"${NAME}:3\"\nFROM $IMAGE\n", &["alpine:3"])]
    #[case::unknown("ARG OTHER\nFROM $OTHER\n", &[])]
    #[case::twice("FROM alpine\nFROM alpine\n", &["alpine"])]
    #[case::platform("FROM --platform=linux/amd64 alpine\n", &["alpine"])]
    #[case::mounted("FROM alpine\nRUN --mount=type=bind,from=tools:1,target=/t true\n", &["alpine", "tools:1"])]
    #[case::no_dockerfile("RUNN x", &[])]
    fn images_are_found(#[case] text: &str, #[case] expected: &[&str]) {
        let arguments = BTreeMap::from([("BASE".to_owned(), "given:1".to_owned())]);
        assert_eq!(base_images(text, &arguments).names, expected);
    }

    #[rstest]
    #[case::unknown("ARG OTHER\nFROM $OTHER\n", &["$OTHER"])]
    #[case::frontend("# syntax=docker/dockerfile:1\nFROM scratch\n", &["# syntax=docker/dockerfile:1"])]
    #[case::interpreter("#!/usr/bin/env docker\n# syntax=frontend:1\nFROM scratch\n", &["behind the line with #!"])]
    #[case::all_clear("FROM alpine\nRUN true\n", &[])]
    fn what_cannot_be_told_is_known(#[case] text: &str, #[case] expected: &[&str]) {
        let images = base_images(text, &BTreeMap::new());
        assert_eq!(images.unclear, expected);
        assert!(!images.is_unreadable);
    }

    #[test]
    fn an_argument_may_name_a_frontend() {
        let image = ("BUILDKIT_SYNTAX".to_owned(), "frontend:1".to_owned());
        let images = base_images("FROM scratch\n", &BTreeMap::from([image]));
        assert_eq!(images.unclear, ["BUILDKIT_SYNTAX=frontend:1"]);
    }

    /// The first two BuildKit reads, with an image that they name.
    #[rstest]
    #[case::slashes("// syntax=frontend:1\nFROM scratch\n")]
    #[case::json("{\"syntax\": \"frontend:1\"}\n")]
    #[case::instruction("FROM scratch\nRUNN x\n")]
    #[case::empty("")]
    fn of_what_is_no_dockerfile_nothing_is_known(#[case] text: &str) {
        let images = base_images(text, &BTreeMap::new());
        assert!(
            images.is_unreadable && images.names.is_empty(),
            "{images:?}"
        );
    }
}
