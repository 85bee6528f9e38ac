//! `transship sync`: an `ImageMirror` without a cluster.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use kube::{Resource as _, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use super::access::BothArguments;
use super::places::{self, Places};
use super::run::{Batch, EXIT_CODES, RunArguments};
use crate::api::ImageMirror;
use crate::controller::Wanted;
use crate::copy::{ImageCopy, Target};
use crate::inspect::creation_time;
use crate::registry::ManifestReference;
use crate::tag_selection::CreationTimes;
use crate::transport::{RegistryRepository, Source};

/// Most bytes of a file with mirrors.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Copy once what a mirror describes, without a cluster
///
/// Reads `ImageMirror` objects, as the operator takes them, and puts everything they name in place: the
/// same fields, the same engine. What is in place already is not sent.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  transship sync -f mirror.yaml
  transship sync -f mirror.yaml --dry-run
  kubectl get imagemirrors -o yaml base | transship sync -f -

Secrets live in a cluster, so `secretRef` and `certSecretRef` are not read: credentials come from \
the files that `docker login`, `podman login` and `skopeo login` write, certificates from \
--src-ca-file and --dest-ca-file. An option of the command line goes over the field of the same meaning. What steers the operator means nothing here: `interval`, `timeout`, `suspend`, `drift`, `prune`, `deletionPolicy`, `limits.shards` and `pod`.

{EXIT_CODES}"))]
pub(super) struct Arguments {
    /// The file with the `ImageMirror` objects; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    run: RunArguments,

    #[command(flatten)]
    access: BothArguments,
}

impl Arguments {
    pub(super) async fn run(self, cancel: &CancellationToken) -> anyhow::Result<ExitCode> {
        let mirrors = read_mirrors(&self.file)?;
        let (sources, destinations) = self.access.open()?;
        let verifies = self.run.verifies();
        let opening = async {
            let mut batches = Vec::new();
            for mirror in &mirrors {
                let opened = open(mirror, &sources, &destinations, verifies).await;
                let of_mirror = || format!("ImageMirror {}", mirror.name_any());
                batches.push(opened.with_context(of_mirror)?);
            }
            Ok(batches)
        };
        self.run.run_each(opening, cancel).await
    }
}

async fn open(
    mirror: &ImageMirror,
    sources: &Places,
    destinations: &Places,
    verifies: bool,
) -> anyhow::Result<Batch> {
    let wanted = Wanted::new(&mirror.spec)?;
    if !wanted.form.options.verify.is_empty() && !verifies {
        bail!(
            "its images have to be signed (spec.verify), and the keys are in a cluster: name them with \
             --verify-key, or a signer with --certificate-identity"
        );
    }
    let mut selected = Vec::new();
    for repository in wanted.repositories() {
        let (location, insecure) = (&repository.location, repository.access.insecure);
        let listed = sources.list_tags(location.registry(), location.repository(), insecure);
        let (client, listed) = listed.await?;
        let source: Arc<dyn Source> = Arc::new(RegistryRepository::new(
            client,
            location.registry().clone(),
            location.repository().clone(),
        ));
        let mut created = CreationTimes::new();
        for tag in repository.undated(&listed)? {
            let found = source.find_manifest(ManifestReference::Tag(tag)).await?;
            if let Some(digest) = found
                && let Some(time) = creation_time(&source, &digest).await?
            {
                created.insert(tag.clone(), time);
            }
        }
        selected.push(Ok(repository.select(&listed, &created)?));
    }
    let images = wanted.expand(selected)?.images;
    let mut copies = Vec::with_capacity(images.len());
    for image in &images {
        let (registry, repository) = (image.source.registry(), image.source.repository());
        let mut targets = Vec::with_capacity(image.destinations.len());
        for destination in &image.destinations {
            let reference = &destination.reference;
            let place = destinations
                .repository(
                    reference.registry(),
                    reference.repository(),
                    destination.access.insecure,
                )
                .await?;
            targets.push(Target {
                place,
                tag: reference.tag().cloned(),
                existing: destination.existing,
            });
        }
        copies.push(ImageCopy {
            source: sources
                .repository(registry, repository, image.access.insecure)
                .await?,
            image: places::name_of(&image.source)?,
            targets,
        });
    }
    Ok(Batch {
        options: wanted.form.options.into_options(None),
        copies,
    })
}

fn read_mirrors(path: &Path) -> anyhow::Result<Vec<ImageMirror>> {
    let mut text = String::new();
    let length = if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(MAX_FILE_BYTES + 1)
            .read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
    }
    .with_context(|| format!("cannot read {}", path.display()))?;
    if length as u64 > MAX_FILE_BYTES {
        bail!("{} has more than {MAX_FILE_BYTES} bytes", path.display());
    }
    parse_mirrors(&text).with_context(|| format!("cannot read {}", path.display()))
}

/// The `ImageMirror` objects of a YAML stream. A field that does not exist is an error: it was meant to
/// do something.
fn parse_mirrors(text: &str) -> anyhow::Result<Vec<ImageMirror>> {
    // Without the lines around the mistake: nobody knows what the file holds.
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| anyhow!("it is not YAML: {}", error.without_snippet()))?;
    let mut mirrors = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        let (version, kind) = (ImageMirror::api_version(&()), ImageMirror::kind(&()));
        let member = |name| document.get(name).and_then(serde_json::Value::as_str);
        if member("apiVersion") != Some(&version) || member("kind") != Some(&kind) {
            bail!("expected apiVersion {version} and kind {kind}");
        }
        let mirror: ImageMirror =
            serde_json::from_value(document.clone()).context("not an ImageMirror")?;
        let known = serde_json::to_value(&mirror.spec)?;
        if let Some(given) = document.get("spec")
            && let Some(field) = unknown_field("spec", given, &known)
        {
            bail!("ImageMirror has no field {field}; `transship crds` prints those it has");
        }
        mirrors.push(mirror);
    }
    if mirrors.is_empty() {
        bail!("it holds no ImageMirror");
    }
    Ok(mirrors)
}

/// The first field of `given` that is not in `known`, which was read from it and written again.
fn unknown_field(
    path: &str,
    given: &serde_json::Value,
    known: &serde_json::Value,
) -> Option<String> {
    match (given, known) {
        (serde_json::Value::Object(given), serde_json::Value::Object(known)) => {
            given.iter().find_map(|(name, value)| {
                let path = format!("{path}.{name}");
                match known.get(name) {
                    Some(known) => unknown_field(&path, value, known),
                    // A field that is left out and one that is null are the same.
                    None => (!value.is_null()).then_some(path),
                }
            })
        }
        (serde_json::Value::Array(given), serde_json::Value::Array(known)) => given
            .iter()
            .zip(known)
            .enumerate()
            .find_map(|(index, (given, known))| {
                unknown_field(&format!("{path}[{index}]"), given, known)
            }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MIRROR: &str = "\
apiVersion: transship.dev/v1alpha1
kind: ImageMirror
metadata: {name: base}
spec:
  sources: [{image: 'alpine:3.22'}]
  destinations: [{prefix: registry.test/mirror}]
";

    #[test]
    fn several_mirrors_may_be_in_one_file() {
        let text = format!("---\n{MIRROR}---\n{MIRROR}---\n");
        let mirrors = parse_mirrors(&text).unwrap();
        assert_eq!(mirrors.len(), 2);
        assert_eq!(
            mirrors[0].spec.sources[0].image.as_deref(),
            Some("alpine:3.22")
        );
    }

    #[rstest]
    #[case::nothing("", "", "no ImageMirror")]
    #[case::other_kind("kind: ImageMirror", "kind: Pod", "kind ImageMirror")]
    #[case::no_sources("  sources: [{image: 'alpine:3.22'}]\n", "", "sources")]
    #[case::misspelt("prefix:", "insecur: true, prefix:", "spec.destinations[0].insecur")]
    #[case::misspelt_above("  sources:", "  intervall: 1h\n  sources:", "spec.intervall")]
    fn what_cannot_be_meant_is_refused(
        #[case] from: &str,
        #[case] to: &str,
        #[case] expected: &str,
    ) {
        let text = if from.is_empty() {
            String::new()
        } else {
            MIRROR.replace(from, to)
        };
        let error = parse_mirrors(&text).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(expected), "{text}");
    }
}
