//! In which form a spec wants images: platforms, index, format, compression. Pure.

use std::fmt::Write as _;

use super::spec_error::SpecError;
use crate::api::{
    self, ImageMirrorSpec, IndexPolicy, OidcIdentity, ReferrerMode, ReferrerRules, SecretReference,
    Verification, VerificationProvider,
};
use crate::controller::spec;
use crate::convert::{Compression, Conversion, Format};
use crate::copy::{FailurePolicy, PlannedOptions, Referrers, Selection};
use crate::oci::{MediaType, Platform};
use crate::verify::{Identity, Matcher, Policy, Provider, Signers};

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
            format: spec::format(spec.format),
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
        let limits = &spec.limits;
        if spec.failure_policy == api::FailurePolicy::Strict && limits.shards > 1 {
            return Err(SpecError::Combination {
                field: "failurePolicy",
                problem: "Strict needs limits.shards 1",
            });
        }
        let bandwidth = limits.bandwidth.as_deref().map(str::parse).transpose();
        Ok(Self {
            text: (!text.is_empty()).then_some(text),
            options: PlannedOptions {
                platforms,
                conversion,
                referrers: referrers(&spec.referrers),
                failure_policy: match spec.failure_policy {
                    api::FailurePolicy::BestEffort => FailurePolicy::BestEffort,
                    api::FailurePolicy::Strict => FailurePolicy::Strict,
                },
                verify: policies(&spec.verify)?,
                parallel_images: usize::try_from(limits.parallel_images)
                    .unwrap_or_default()
                    .max(1),
                bandwidth: bandwidth.map_err(SpecError::Bandwidth)?,
            },
        })
    }
}

/// What is demanded of signatures. The keys and roots are read later; what can be known without them is refused
/// now.
fn policies(verify: &[Verification]) -> Result<Vec<Policy>, SpecError> {
    let policies = verify.iter().enumerate().map(|(index, verification)| {
        let error = |problem| SpecError::Verify { index, problem };
        let name =
            |secret: &Option<SecretReference>| secret.as_ref().map(|secret| secret.name.clone());
        let trusted_root = name(&verification.trusted_root_secret_ref);
        let signers = match (
            name(&verification.secret_ref),
            verification.identities.as_slice(),
        ) {
            (Some(keys), []) => Signers::Keys { keys, trusted_root },
            (None, identities @ [_, ..]) => Signers::Identities {
                identities: checked_identities(index, identities)?,
                trusted_root: trusted_root
                    .ok_or(error("matchOIDCIdentity needs trustedRootSecretRef"))?,
            },
            (Some(_), _) | (None, []) => {
                return Err(error("either secretRef or matchOIDCIdentity must be set"));
            }
        };
        let policy = Policy {
            r#match: verification.pattern.clone(),
            provider: match verification.provider {
                VerificationProvider::Cosign => Provider::Cosign,
            },
            signers,
        };
        let checked = policy.check_match();
        checked.map_err(|source| SpecError::Policy { index, source })?;
        Ok(policy)
    });
    policies.collect()
}

fn checked_identities(
    index: usize,
    identities: &[OidcIdentity],
) -> Result<Vec<Identity>, SpecError> {
    let identities = identities.iter().enumerate().map(|(number, written)| {
        let identity = Identity {
            issuer: Matcher::Regex(written.issuer.clone()),
            subject: Matcher::Regex(written.subject.clone()),
        };
        let checked = identity.check();
        checked.map_err(|source| SpecError::Identity {
            index,
            number,
            source,
        })?;
        Ok(identity)
    });
    identities.collect()
}

fn referrers(rules: &ReferrerRules) -> Referrers {
    match rules.mode {
        ReferrerMode::None => Referrers::None,
        ReferrerMode::All => Referrers::All {
            artifact_types: rules
                .artifact_types
                .iter()
                .map(|kind| MediaType::new(kind))
                .collect(),
            cosign_tags: rules.cosign_tags,
        },
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

fn compression(written: &ImageMirrorSpec) -> Result<Option<Compression>, SpecError> {
    spec::compression(&written.compression).map_err(|_| SpecError::Combination {
        field: "compression.level",
        problem: "Gzip has the levels 1 to 9, Zstd 1 to 19",
    })
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
    #[case(json!({"failurePolicy": "Strict", "limits": {"shards": 2}}), "spec.failurePolicy")]
    #[case(json!({"limits": {"bandwidth": "1Ki"}}), "spec.limits.bandwidth")]
    fn what_contradicts_itself_names_its_field(#[case] fields: Value, #[case] field: &str) {
        let error = form(&fields).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field}:")), "{error}");
    }

    #[test]
    fn what_makes_no_other_image_reaches_the_plan_as_well() {
        let form = form(&json!({
            "limits": {"parallelImages": 3, "bandwidth": "1Mi"}, "failurePolicy": "Strict",
            "referrers": {"artifactTypes": ["application/spdx+json"], "cosignTags": false},
        }))
        .unwrap();
        assert_eq!(form.text, None);
        let options = form.options;
        assert_eq!(options.parallel_images, 3);
        assert_eq!(options.bandwidth, Some("1Mi".parse().unwrap()));
        assert_eq!(options.failure_policy, FailurePolicy::Strict);
        let expected = Referrers::All {
            artifact_types: vec![MediaType::new("application/spdx+json")],
            cosign_tags: false,
        };
        assert_eq!(options.referrers, expected);
    }
}
