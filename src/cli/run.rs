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

    /// Images that are copied at once
    ///
    /// How many requests a registry gets at once is found out by its answers; this bounds memory.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 48,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    parallel: u16,

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
    /// `to_one_place` says that the destination holds images of one platform and no index.
    fn options(&self, to_one_place: bool) -> anyhow::Result<copy::Options> {
        Ok(copy::Options {
            platforms: self.selection.selection(to_one_place)?,
            conversion: self.conversion.conversion(),
            referrers: self.selection.referrers(),
            failure_policy: self
                .failure_policy
                .map_or_else(FailurePolicy::default, FailurePolicy::from),
            bandwidth: self.bandwidth,
            signatures: self.signatures.check()?.map(Arc::new),
            parallel_images: usize::from(self.parallel),
            ..copy::Options::default()
        })
    }

    /// Whether images change their form.
    pub(super) fn converts(&self) -> bool {
        !self.conversion.conversion().is_none()
    }

    /// Copies what `opening` gives, or says what would be copied.
    pub(super) async fn run(
        &self,
        opening: impl Future<Output = anyhow::Result<Vec<ImageCopy>>>,
        to_one_place: bool,
        cancel: &CancellationToken,
    ) -> anyhow::Result<ExitCode> {
        if self.dry_run && self.converts() {
            bail!("what a conversion sends is not known before it is done: leave out --dry-run");
        }
        let options = self.options(to_one_place)?;
        let progress = Progress::new(self.quiet || self.dry_run);
        let mut copies = tokio::select! {
            copies = opening => copies?,
            () = cancel.cancelled() => return Ok(interrupted()),
        };
        if let Some(existing) = self.existing {
            let targets = copies.iter_mut().flat_map(|copy| &mut copy.targets);
            targets.for_each(|target| target.existing = existing.into());
        }
        let work = async {
            if self.dry_run {
                self.plan(&copies, &options).await
            } else {
                self.copy(&copies, &options, &progress).await
            }
        };
        let done = tokio::select! {
            done = work => done,
            () = cancel.cancelled() => {
                progress.close();
                let targets = copies.iter().flat_map(|copy| &copy.targets);
                join_all(targets.map(|target| target.place.put_away())).await;
                return Ok(interrupted());
            }
        };
        if !self.quiet {
            warnings(&copies).iter().for_each(output::tell);
        }
        done
    }

    async fn copy(
        &self,
        copies: &[ImageCopy],
        options: &copy::Options,
        progress: &Progress,
    ) -> anyhow::Result<ExitCode> {
        let counters = Arc::new(Counters::default());
        let outcomes =
            copy::copy_images(copies, options, Arc::clone(&counters), progress.observer()).await;
        // The screen is free before anything else is written.
        progress.close();
        let mut reporter = self.reporter();
        for (copy, outcome) in copies.iter().zip(&outcomes) {
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
    async fn plan(
        &self,
        copies: &[ImageCopy],
        options: &copy::Options,
    ) -> anyhow::Result<ExitCode> {
        let mut outgoing = Outgoing::default();
        let mut reporter = self.reporter();
        for copy in copies {
            let source = source_name(copy);
            let (source_digest, tree) = match self.read(copy, options).await {
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

    /// The digest that the source has, and what would be copied of it.
    async fn read(
        &self,
        copy: &ImageCopy,
        options: &copy::Options,
    ) -> Result<(Digest, Tree), Failure> {
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
        if matches!(options.platforms, Selection::Sparse(_)) {
            tree.retain_platforms(&self.selection.platforms);
        }
        Ok((source, tree))
    }
}

fn interrupted() -> ExitCode {
    output::tell("interrupted; what is missing is copied when the command runs again");
    ExitCode::from(EXIT_INTERRUPTED)
}

/// What the places want people to know, each line once.
fn warnings(copies: &[ImageCopy]) -> BTreeSet<String> {
    let lines = copies.iter().flat_map(|copy| {
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
