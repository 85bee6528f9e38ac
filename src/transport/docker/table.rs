//! `manifest.json`, the table of contents of an archive: which files are the configuration and the
//! layers of which image, and what the image is called.

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, Reference, read_document};

/// The name of the table in the archive.
pub(super) const TABLE: &str = "manifest.json";
/// Most bytes of a table: it is of the size of manifests.
pub(super) const MAX_TABLE_BYTES: usize = 4 * 1024 * 1024;
/// Names that a message lists.
const LISTED_NAMES: usize = 10;

/// One image of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SavedImage {
    /// The name of the file with the configuration.
    pub(super) config: String,
    /// What the image is called; the names always have a tag.
    pub(super) names: Vec<Reference>,
    /// The names of the files with the layers, from the lowest to the highest.
    pub(super) layers: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Reads the table, or says what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<SavedImage>, String> {
    let rows: Vec<Row> =
        read_document(bytes, MAX_TABLE_BYTES).map_err(|error| format!("its {TABLE}: {error}"))?;
    rows.into_iter()
        .enumerate()
        .map(|(index, row)| {
            Ok(SavedImage {
                config: row.config,
                names: row
                    .repo_tags
                    .unwrap_or_default()
                    .iter()
                    .map(|name| parse_name(name))
                    .collect::<Option<_>>()
                    .ok_or_else(|| {
                        format!("its {TABLE}: `[{index}].RepoTags` has a name that is not REPOSITORY:TAG")
                    })?,
                layers: row.layers.unwrap_or_default(),
            })
        })
        .collect()
}

/// Writes the table as Docker does.
pub(super) fn write(images: Vec<SavedImage>) -> Result<Vec<u8>, serde_json::Error> {
    let rows: Vec<Row> = images
        .into_iter()
        .map(|image| Row {
            config: image.config,
            repo_tags: (!image.names.is_empty())
                .then(|| image.names.iter().map(ToString::to_string).collect()),
            layers: Some(image.layers),
        })
        .collect();
    serde_json::to_vec(&rows)
}

/// The image called `wanted`, or the only one there is.
pub(super) fn select<'a>(
    images: &'a [SavedImage],
    wanted: Option<&Reference>,
) -> Result<&'a SavedImage, Selection> {
    match (images, wanted) {
        ([], _) => Err(Selection::Empty),
        ([only], None) => Ok(only),
        (_, None) => Err(Selection::Several(names(images))),
        (_, Some(wanted)) => {
            let mut found = images.iter().filter(|image| image.names.contains(wanted));
            match (found.next(), found.next()) {
                (Some(image), None) => Ok(image),
                (Some(_), Some(_)) => Err(Selection::Twice(wanted.to_string())),
                (None, _) => Err(Selection::Missing(names(images))),
            }
        }
    }
}

/// Why no image is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// There is none at all.
    Empty,
    /// There are several, with these names.
    Several(String),
    /// There is none of that name, but these.
    Missing(String),
    /// Two images have that name.
    Twice(String),
}

fn names(images: &[SavedImage]) -> String {
    let mut names = images.iter().flat_map(|image| &image.names);
    let mut listed: Vec<String> = names
        .by_ref()
        .take(LISTED_NAMES)
        .map(ToString::to_string)
        .collect();
    let more = names.count();
    if more > 0 {
        listed.push(format!("{more} more"));
    }
    if listed.is_empty() {
        listed.push("images without a name".to_owned());
    }
    listed.join(", ")
}

fn parse_name(text: &str) -> Option<Reference> {
    let name: Reference = text.parse().ok()?;
    (name.digest().is_none() && name.tag().is_some()).then_some(name)
}

/// The digest that the name of a configuration says it has: `HEX.json`, or `blobs/sha256/HEX`.
pub(super) fn digest_in_name(name: &str) -> Option<Digest> {
    let file = name.rsplit('/').next()?;
    let hex = file.strip_suffix(".json").unwrap_or(file);
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn image(names: &[&str]) -> SavedImage {
        SavedImage {
            config: "c.json".to_owned(),
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            layers: vec!["l.tar".to_owned()],
        }
    }

    #[test]
    fn a_table_is_read_as_it_is_written() {
        let images = vec![image(&["alpine:3", "corp.example:5000/a/b:1"]), image(&[])];
        let written = write(images.clone()).unwrap();
        assert_eq!(read(&written).unwrap(), images);
        assert_eq!(
            String::from_utf8(written).unwrap(),
            r#"[{"Config":"c.json","RepoTags":["docker.io/library/alpine:3","corp.example:5000/a/b:1"],"Layers":["l.tar"]},{"Config":"c.json","RepoTags":null,"Layers":["l.tar"]}]"#
        );
    }

    #[rstest]
    #[case::no_list(r#"{"Config":"a"}"#, "the document itself")]
    #[case::no_config(r#"[{"RepoTags":null}]"#, "`[0]`")]
    #[case::config_twice(r#"[{"Config":"a","Config":"b"}]"#, "`[0].Config` occurs twice")]
    #[case::other_case(r#"[{"config":"a"}]"#, "`[0].Config` occurs in another case")]
    #[case::number(r#"[{"Config":"a","Layers":[1]}]"#, "`[0].Layers[0]`")]
    #[case::name(r#"[{"Config":"a","RepoTags":["A:1"]}]"#, "`[0].RepoTags` has a name")]
    #[case::digest(r#"[{"Config":"a","RepoTags":["a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}]"#, "`[0].RepoTags` has a name")]
    #[case::no_json("[", "is not JSON")]
    fn malformed_tables_are_refused(#[case] document: &str, #[case] expected: &str) {
        let problem = read(document.as_bytes()).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }

    #[test]
    fn an_image_is_selected_by_its_name() {
        let images = [image(&["alpine:3"]), image(&["busybox:1", "busybox:2"])];
        let name = |text: &str| text.parse::<Reference>().unwrap();
        let selected = select(&images, Some(&name("docker.io/library/busybox:2")));
        assert_eq!(selected, Ok(&images[1]));
        assert_eq!(select(&images[..1], None), Ok(&images[0]));
        let all =
            "docker.io/library/alpine:3, docker.io/library/busybox:1, docker.io/library/busybox:2";
        assert_eq!(
            select(&images, None),
            Err(Selection::Several(all.to_owned()))
        );
        assert_eq!(
            select(&images, Some(&name("alpine:4"))),
            Err(Selection::Missing(all.to_owned()))
        );
        assert_eq!(select(&[], None), Err(Selection::Empty));
        let twice = [image(&["a:1"]), image(&["a:1"])];
        assert!(matches!(
            select(&twice, Some(&name("a:1"))),
            Err(Selection::Twice(_))
        ));
    }

    #[test]
    fn a_message_lists_a_few_names_only() {
        let many: Vec<_> = (0..20).map(|tag| image(&[&format!("a:{tag}")])).collect();
        let Err(Selection::Several(listed)) = select(&many, None) else {
            panic!("one of twenty was selected")
        };
        assert!(listed.ends_with("a:9, 10 more"), "{listed}");
    }
}
