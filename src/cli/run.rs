//! What `copy`, `convert` and `sync` have in common: options of the engine, and the run.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::{Args, ValueEnum};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::conversion::ConversionArguments;
use super::output;
use super::progress::Progress;
use super::report::Reporter;
use super::selection::SelectionArguments;
use super::signatures::SignatureArguments;
use crate::copy::{
    self, Bandwidth, Counters, Failure, FailurePolicy, ImageCopy, Referrers, Root, Selection,
    TagPolicy,
};
use crate::inspect::{Outgoing, Tree, read_tree};
use crate::oci::Digest;
use crate::reason::Reason;
use crate::worker::EXIT_INTERRUPTED;

/// What the help of `copy` and `sync` says of exit codes.
pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 everything is in place; 10 some copies failed; 11 interrupted, what was copied stays; \
1 it could not start; 2 wrong usage.";

/// How a run goes, and what is printed.
#[derive(Args, Clone, Debug)]
pub(super) struct RunArguments {
    #[command(flatten)]
    selection: SelectionArguments,

    /// Images that are copied at once [default: 48]
    ///
    /// How many requests a registry gets at once is found out by its answers; this bounds memory.
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    parallel: Option<u16>,

    /// Most bytes of blobs that pass in a second, for example 20Mi [default: no limit]
    ///
    /// A byte counts once, when it is read to be sent on: what comes in and what goes out are each within
    /// the limit. At least 64Ki.
    #[arg(long, value_name = "BYTES")]
    bandwidth: Option<Bandwidth>,

    /// What becomes of a tag that is at the destination with another digest [default: overwrite]
    ///
    /// It holds for every tag that a copy writes, also those of cosign.
    #[arg(long, value_name = "POLICY", value_enum)]
    existing: Option<ExistingArgument>,

    /// What one image that cannot be copied means for the others [default: best-effort]
    #[arg(long, value_name = "POLICY", value_enum)]
    failure_policy: Option<FailureArgument>,

    /// Say what would be sent, with its bytes, and send nothing
    #[arg(long)]
    dry_run: bool,

    /// Print JSON: one object per image and destination, then one with the totals
    #[arg(long)]
    json: bool,

    /// Say nothing but errors on standard error
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    conversion: ConversionArguments,

    #[command(flatten)]
    signatures: SignatureArguments,
}

/// Images that are copied with the same options.
pub(super) struct Batch {
    pub(super) options: copy::Options,
    pub(super) copies: Vec<ImageCopy>,
}

/// What becomes of tags that are there.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExistingArgument {
    /// It is moved
    Overwrite,
    /// It stays, which is a success and is said
    Keep,
    /// It stays, and the copy fails
    Fail,
}

/// What becomes of the others when one image cannot be copied.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailureArgument {
    /// They are put in place
    BestEffort,
    /// No tag is moved in any registry unless all images could be written; each fails otherwise
    Strict,
}

impl From<FailureArgument> for FailurePolicy {
    fn from(argument: FailureArgument) -> Self {
        match argument {
            FailureArgument::BestEffort => Self::BestEffort,
            FailureArgument::Strict => Self::Strict,
        }
    }
}

impl From<ExistingArgument> for TagPolicy {
    fn from(argument: ExistingArgument) -> Self {
        match argument {
            ExistingArgument::Overwrite => Self::Overwrite,
            ExistingArgument::Keep => Self::Keep,
            ExistingArgument::Fail => Self::Fail,
        }
    }
}

impl RunArguments {
    /// What is asked for on the command line, over what is there already. `to_one_place` says that the
    /// destination holds images of one platform and no index.
    fn options(&self, base: copy::Options, to_one_place: bool) -> anyhow::Result<copy::Options> {
        let conversion = self.conversion.conversion();
        Ok(copy::Options {
            platforms: self
                .selection
                .selection(to_one_place)?
                .unwrap_or(base.platforms),
            conversion: if conversion.is_none() {
                base.conversion
            } else {
                conversion
            },
            referrers: self.selection.referrers().unwrap_or(base.referrers),
            failure_policy: self
                .failure_policy
                .map_or(base.failure_policy, FailurePolicy::from),
            bandwidth: self.bandwidth.or(base.bandwidth),
            signatures: self.signatures.check()?.map(Arc::new).or(base.signatures),
            parallel_images: self.parallel.map_or(base.parallel_images, usize::from),
            ..base
        })
    }

    /// Whether images change their form.
    pub(super) fn converts(&self) -> bool {
        !self.conversion.conversion().is_none()
    }

    /// Whether the command line says who must have signed.
    pub(super) fn verifies(&self) -> bool {
        self.signatures.are_given()
    }

    /// Copies what `opening` gives, or says what would be copied.
    pub(super) async fn run(
        &self,
        opening: impl Future<Output = anyhow::Result<Vec<ImageCopy>>>,
        to_one_place: bool,
        cancel: &CancellationToken,
    ) -> anyhow::Result<ExitCode> {
        let opening = async {
            let options = self.options(copy::Options::default(), to_one_place)?;
            Ok(vec![Batch {
                options,
                copies: opening.await?,
            }])
        };
        Box::pin(self.run_batches(opening, cancel)).await
    }

    /// The same for several batches, each with options of its own, over which those of the command line go.
    pub(super) async fn run_each(
        &self,
        opening: impl Future<Output = anyhow::Result<Vec<Batch>>>,
        cancel: &CancellationToken,
    ) -> anyhow::Result<ExitCode> {
        let opening = async {
            let batches = opening.await?.into_iter().map(|batch| {
                Ok(Batch {
                    options: self.options(batch.options, false)?,
                    copies: batch.copies,
                })
            });
            batches.collect()
        };
        Box::pin(self.run_batches(opening, cancel)).await
    }

    async fn run_batches(
        &self,
        opening: impl Future<Output = anyhow::Result<Vec<Batch>>>,
        cancel: &CancellationToken,
    ) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.quiet || self.dry_run);
        let mut batches = tokio::select! {
            batches = opening => batches?,
            () = cancel.cancelled() => return Ok(interrupted()),
        };
        let converts = |batch: &Batch| !batch.options.conversion.is_none();
        if self.dry_run && batches.iter().any(converts) {
            bail!("what a conversion sends is not known before it is done: leave out --dry-run");
        }
        if let Some(existing) = self.existing {
            let copies = batches.iter_mut().flat_map(|batch| &mut batch.copies);
            let targets = copies.flat_map(|copy| &mut copy.targets);
            targets.for_each(|target| target.existing = existing.into());
        }
        let work = async {
            if self.dry_run {
                self.plan(&batches).await
            } else {
                self.copy(&batches, &progress).await
            }
        };
        let copies = || batches.iter().flat_map(|batch| &batch.copies);
        let done = tokio::select! {
            done = work => done,
            () = cancel.cancelled() => {
                progress.close();
                let targets = copies().flat_map(|copy| &copy.targets);
                join_all(targets.map(|target| target.place.put_away())).await;
                return Ok(interrupted());
            }
        };
        if !self.quiet {
            warnings(copies()).iter().for_each(output::tell);
        }
        done
    }

    async fn copy(&self, batches: &[Batch], progress: &Progress) -> anyhow::Result<ExitCode> {
        let counters = Arc::new(Counters::default());
        let mut outcomes = Vec::new();
        for Batch { options, copies } in batches {
            let copying =
                copy::copy_images(copies, options, Arc::clone(&counters), progress.observer());
            outcomes.extend(copies.iter().zip(copying.await));
        }
        // The screen is free before anything else is written.
        progress.close();
        let mut reporter = self.reporter();
        for (copy, outcome) in &outcomes {
            let source = source_name(copy);
            for (target, result) in copy.targets.iter().zip(outcome) {
                reporter.result(&source, &target.to_string(), result)?;
            }
        }
        reporter.conclude(counters.now())
    }

    fn reporter(&self) -> Reporter {
        Reporter::new(self.json, self.quiet)
    }

    /// Prints what each destination lacks. Nothing is written anywhere.
    async fn plan(&self, batches: &[Batch]) -> anyhow::Result<ExitCode> {
        let mut outgoing = Outgoing::default();
        let mut reporter = self.reporter();
        let copies = batches.iter().flat_map(|batch| {
            let copies = batch.copies.iter();
            copies.map(|copy| (copy, &batch.options))
        });
        for (copy, options) in copies {
            let source = source_name(copy);
            let (source_digest, tree) = match read(copy, options).await {
                Ok(read) => read,
                Err(failure) => {
                    for target in &copy.targets {
                        reporter.failed(&source, &target.to_string(), &failure)?;
                    }
                    continue;
                }
            };
            let digest = &tree.descriptor.digest;
            for target in &copy.targets {
                let destination = target.to_string();
                if let Some(result) = target.look(&source_digest, digest).await {
                    reporter.result(&source, &destination, &result)?;
                    continue;
                }
                let missing = outgoing
                    .missing(&tree, target.place.as_ref(), target.tag.as_ref())
                    .await;
                match missing {
                    Ok(missing) => reporter.planned(
                        (&source, &source_digest),
                        (&destination, digest),
                        &missing,
                    )?,
                    Err(error) => {
                        let failure = Failure::of_place(copy::Side::Destination, &error);
                        reporter.failed(&source, &destination, &failure)?;
                    }
                }
            }
        }
        reporter.conclude_plan()
    }
}

/// The digest that the source has, and what would be copied of it.
async fn read(copy: &ImageCopy, options: &copy::Options) -> Result<(Digest, Tree), Failure> {
    let Root { source, manifest } = Root::read(
        copy.source.as_ref(),
        copy.image.as_reference(),
        &options.platforms,
    )
    .await?;
    if let Some(signatures) = &options.signatures {
        signatures.check(&copy.source, &source).await?;
    }
    let with_referrers = options.referrers != Referrers::None;
    let mut tree = read_tree(&copy.source, manifest, with_referrers)
        .await
        .map_err(|error| Failure {
            reason: Reason::SourceInvalid,
            message: error.to_string(),
        })?;
    if let Referrers::All { artifact_types, .. } = &options.referrers
        && !artifact_types.is_empty()
    {
        tree.retain_referrers(artifact_types);
    }
    // An index that stays as it is names images that are not copied.
    if let Selection::Sparse(platforms) = &options.platforms {
        tree.retain_platforms(platforms);
    }
    Ok((source, tree))
}

fn interrupted() -> ExitCode {
    output::tell("interrupted; what is missing is copied when the command runs again");
    ExitCode::from(EXIT_INTERRUPTED)
}

/// What the places want people to know, each line once.
fn warnings<'a>(copies: impl Iterator<Item = &'a ImageCopy>) -> BTreeSet<String> {
    let lines = copies.flat_map(|copy| {
        let targets = copy.targets.iter();
        let targets = targets.flat_map(|target| target.place.warnings());
        targets.chain(copy.source.warnings())
    });
    lines.collect()
}

fn source_name(copy: &ImageCopy) -> String {
    match &copy.image {
        copy::ManifestName::Tag(tag) => format!("{}:{tag}", copy.source.name()),
        copy::ManifestName::Digest(digest) => format!("{}@{digest}", copy.source.name()),
    }
}
