//! In which form a spec wants images: platforms, index, format, compression. Pure.

use std::fmt::Write as _;

use super::wanted::SpecError;
use crate::api::{CompressionAlgorithm, ImageFormat, ImageMirrorSpec, IndexPolicy};
use crate::convert::{Compression, Conversion, Format};
use crate::copy::{PlannedOptions, Selection};
use crate::oci::Platform;

/// The form of images at the destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// How they are copied.
    pub(crate) options: PlannedOptions,
    /// What is asked for, as the status shows it. [`None`] when all of an image is copied as it is, so that it
    /// has the digest of its source.
    pub(crate) text: Option<String>,
}

impl Form {
    pub(crate) fn new(spec: &ImageMirrorSpec) -> Result<Self, SpecError> {
        let platforms = platforms(spec)?;
        let conversion = Conversion {
            format: match spec.format {
                ImageFormat::Preserve => Format::Preserve,
                ImageFormat::Oci => Format::Oci,
                ImageFormat::Docker => Format::Docker,
            },
            compression: compression(spec)?,
            leave_out_unsupported: false,
        };
        if matches!(platforms, Selection::Sparse(_)) && !conversion.is_none() {
            return Err(SpecError::Combination {
                field: "indexPolicy",
                problem: "Sparse keeps the index as it is; to convert images use Rewrite",
            });
        }
        let text = text(&platforms, conversion);
        let parallel_images = usize::try_from(spec.limits.parallel_images).unwrap_or_default();
        Ok(Self {
            text: (!text.is_empty()).then_some(text),
            options: PlannedOptions {
                platforms,
                conversion,
                parallel_images: parallel_images.max(1),
            },
        })
    }
}

fn platforms(spec: &ImageMirrorSpec) -> Result<Selection, SpecError> {
    let platforms = spec
        .platforms
        .iter()
        .enumerate()
        .map(|(index, platform)| {
            platform
                .parse()
                .map_err(|source| SpecError::Platform { index, source })
        })
        .collect::<Result<Vec<Platform>, _>>()?;
    match (spec.index_policy, platforms.is_empty()) {
        (IndexPolicy::Preserve, true) => Ok(Selection::All),
        (IndexPolicy::Sparse, false) => Ok(Selection::Sparse(platforms)),
        (IndexPolicy::Rewrite, false) => Ok(Selection::Rewrite(platforms)),
        (IndexPolicy::Preserve, false) => Err(SpecError::Combination {
            field: "platforms",
            problem: "they need indexPolicy Sparse or Rewrite",
        }),
        (IndexPolicy::Sparse | IndexPolicy::Rewrite, true) => Err(SpecError::Combination {
            field: "indexPolicy",
            problem: "Sparse and Rewrite need platforms",
        }),
    }
}

fn compression(spec: &ImageMirrorSpec) -> Result<Option<Compression>, SpecError> {
    let name = match spec.compression.algorithm {
        CompressionAlgorithm::Preserve => return Ok(None),
        CompressionAlgorithm::Gzip => "gzip",
        CompressionAlgorithm::Zstd => "zstd",
    };
    let text = match spec.compression.level {
        Some(level) => format!("{name}:{level}"),
        None => name.to_owned(),
    };
    let compression = text.parse().map_err(|_| SpecError::Combination {
        field: "compression.level",
        problem: "Gzip has the levels 1 to 9, Zstd 1 to 19",
    })?;
    Ok(Some(compression))
}

/// The fields that make a difference, as they are called in the spec.
fn text(platforms: &Selection, conversion: Conversion) -> String {
    let mut text = String::new();
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = write!(text, "{space}{name}={value}");
    };
    let (policy, chosen) = match platforms {
        Selection::Sparse(chosen) => ("Sparse", chosen.as_slice()),
        Selection::Rewrite(chosen) => ("Rewrite", chosen.as_slice()),
        Selection::All | Selection::Image(_) => ("", [].as_slice()),
    };
    if !chosen.is_empty() {
        // The order in the spec makes no difference to what is copied.
        let mut chosen: Vec<String> = chosen.iter().map(ToString::to_string).collect();
        chosen.sort();
        chosen.dedup();
        add("platforms", &chosen.join(","));
        add("indexPolicy", &policy);
    }
    match conversion.format {
        Format::Preserve => {}
        Format::Oci => add("format", &"OCI"),
        Format::Docker => add("format", &"Docker"),
    }
    if let Some(compression) = conversion.compression {
        add("compression", &compression);
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn form(fields: &Value) -> Result<Form, SpecError> {
        let mut spec =
            json!({"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]});
        for (name, value) in fields.as_object().unwrap() {
            spec[name] = value.clone();
        }
        Form::new(&serde_json::from_value(spec).unwrap())
    }

    #[rstest]
    #[case::nothing(json!({}), None)]
    #[case::limits_are_no_form(json!({"limits": {"parallelImages": 3}}), None)]
    #[case::sparse(
        json!({"platforms": ["linux/arm64/v8", "linux/amd64"], "indexPolicy": "Sparse"}),
        Some("platforms=linux/amd64,linux/arm64 indexPolicy=Sparse")
    )]
    #[case::another_order(
        json!({"platforms": ["linux/amd64", "linux/arm64", "linux/amd64"], "indexPolicy": "Sparse"}),
        Some("platforms=linux/amd64,linux/arm64 indexPolicy=Sparse")
    )]
    #[case::converted(
        json!({"format": "OCI", "compression": {"algorithm": "Zstd"}}),
        Some("format=OCI compression=zstd:3")
    )]
    #[case::level(json!({"compression": {"algorithm": "Gzip", "level": 9}}), Some("compression=gzip:9"))]
    fn what_is_asked_for_has_one_text(#[case] fields: Value, #[case] expected: Option<&str>) {
        assert_eq!(form(&fields).unwrap().text.as_deref(), expected);
    }

    /// Admission refuses these; an object that was stored before it did may have them.
    #[rstest]
    #[case(json!({"platforms": ["linux/amd64"]}), "spec.platforms")]
    #[case(json!({"indexPolicy": "Rewrite"}), "spec.indexPolicy")]
    #[case(json!({"platforms": ["linux"], "indexPolicy": "Rewrite"}), "spec.platforms[0]")]
    #[case(json!({"platforms": ["linux/amd64"], "indexPolicy": "Sparse", "format": "OCI"}), "spec.indexPolicy")]
    #[case(json!({"compression": {"algorithm": "Gzip", "level": 12}}), "spec.compression.level")]
    fn what_contradicts_itself_names_its_field(#[case] fields: Value, #[case] field: &str) {
        let error = form(&fields).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field}:")), "{error}");
    }

    #[test]
    fn parallel_images_reach_the_plan() {
        let form = form(&json!({"limits": {"parallelImages": 3}})).unwrap();
        assert_eq!(form.options.parallel_images, 3);
    }
}
