//! `transship verify`: reads every byte and says what is not what it claims to be.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::access::AccessArguments;
use super::hint;
use super::output;
use super::places::{PLACES, Places};
use super::progress::Progress;
use super::signatures::SignatureArguments;
use crate::copy::{ManifestName, SignatureCheck};
use crate::inspect::{Fault, Verified, verify};
use crate::oci::Digest;
use crate::reason::Reason;
use crate::registry::ManifestReference;
use crate::transport::Source;
use crate::worker::EXIT_INTERRUPTED;

/// Verify that every byte of images hashes to what it claims
///
/// Reads all manifests and blobs of the images, with their referrers, and prints every object that is
/// missing or damaged. What several images share is read once. A layout or archive that names no image
/// in it is verified with all of its images. An image that cannot be opened does not stop the others.
///
/// With the options for signatures, each image has to be signed as well: by a key, or by somebody an
/// identity provider vouched for.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  transship verify registry.example/app:1
  transship verify --all-tags registry.example/app
  transship verify oci:images oci-archive:bundle.tar
  transship verify --verify-key cosign.pub registry.example/app:1

{PLACES}

Exit codes: 0 everything is sound; 1 something is not, or could not be read; 2 wrong usage; \
11 interrupted."))]
pub(super) struct Arguments {
    /// The images: HOST/REPOSITORY[:TAG][@DIGEST], or other places
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// The arguments are repositories: verify every tag
    #[arg(short, long)]
    all_tags: bool,

    /// Print one JSON object per argument
    #[arg(long)]
    json: bool,

    /// Say nothing but errors on standard error
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    signatures: SignatureArguments,

    #[command(flatten)]
    access: AccessArguments,
}

impl Arguments {
    pub(super) async fn run(self, cancel: &CancellationToken) -> anyhow::Result<ExitCode> {
        let places = self.access.open()?;
        let signatures = self.signatures.check()?;
        let progress = Progress::new(self.quiet);
        let work = async {
            let mut is_sound = true;
            for image in &self.images {
                let result = self
                    .verify(image, &places, signatures.as_ref(), &progress)
                    .await;
                is_sound &= matches!(&result, Ok(result) if result.faults.is_empty());
                progress.suspend(|| self.print(image, result))?;
            }
            Ok(if is_sound {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        };
        tokio::select! {
            result = work => result,
            () = cancel.cancelled() => {
                progress.close();
                Ok(ExitCode::from(EXIT_INTERRUPTED))
            }
        }
    }

    async fn verify(
        &self,
        image: &str,
        places: &Places,
        signatures: Option<&SignatureCheck>,
        progress: &Progress,
    ) -> anyhow::Result<Verified> {
        let (source, roots) = if self.all_tags {
            let (source, tags) = places.all_tagged(image).await?;
            (source, tags.into_iter().map(ManifestName::Tag).collect())
        } else {
            places.images(image).await?
        };
        let observer = progress.observer();
        let mut seen = BTreeSet::new();
        let mut result = Verified::default();
        for root in roots {
            let digest = match root {
                ManifestName::Digest(digest) => digest,
                ManifestName::Tag(tag) => source
                    .find_manifest(ManifestReference::Tag(&tag))
                    .await?
                    .with_context(|| {
                        format!(
                            "{} has no tag {tag}; see `transship list-tags`",
                            source.name()
                        )
                    })?,
            };
            result.add(verify(&source, &digest, &mut seen, observer.as_ref()).await);
            if let Some(signatures) = signatures {
                result
                    .faults
                    .extend(unsigned(signatures, &source, &digest).await?);
            }
        }
        Ok(result)
    }

    fn print(&self, image: &str, result: anyhow::Result<Verified>) -> anyhow::Result<()> {
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                let error = output::sentence(&hint::add(error, hint::Places::One));
                output::tell(format_args!("{image}: not verified: {error}"));
                if self.json {
                    output::json(&serde_json::json!({"image": image, "error": error}))?;
                }
                return Ok(());
            }
        };
        if self.json {
            return output::json(&serde_json::json!({"image": image, "result": result}));
        }
        for fault in &result.faults {
            output::line(format_args!("{}: {}", fault.digest, fault.problem))?;
        }
        if self.quiet {
            return Ok(());
        }
        let sound = format!("{} objects, {}", result.sound, output::size(result.bytes));
        output::tell(if result.faults.is_empty() {
            format!("{image}: sound ({sound})")
        } else {
            format!(
                "{image}: {} objects are wrong ({sound} are sound)",
                result.faults.len()
            )
        });
        if result.elsewhere > 0 {
            output::tell(format_args!(
                "{image}: {} layers are kept elsewhere by their publisher and were not read",
                result.elsewhere
            ));
        }
        Ok(())
    }
}

/// What is wrong with the signatures of an image. That they cannot be read is an error.
async fn unsigned(
    signatures: &SignatureCheck,
    source: &Arc<dyn Source>,
    digest: &Digest,
) -> anyhow::Result<Option<Fault>> {
    match signatures.check(source, digest).await {
        Ok(()) => Ok(None),
        Err(failure) if failure.reason == Reason::VerificationFailed => Ok(Some(Fault {
            digest: digest.clone(),
            problem: failure.message,
        })),
        Err(failure) => Err(failure.into()),
    }
}
