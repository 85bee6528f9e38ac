//! `transship list-tags`: the tags of a repository.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::output;
use super::places::AccessArguments;

/// Most tags that are listed; repositories with more exist, and nobody reads them.
pub(super) const MAX_TAGS: usize = 200_000;

/// Print the tags of a repository, one a line, sorted
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship list-tags registry.example/team/app
  transship list-tags alpine | grep '^3'

Exit codes: 0 printed; 1 they cannot be read; 2 wrong usage.")]
pub(super) struct Arguments {
    /// The repository: HOST/REPOSITORY
    #[arg(value_name = "REPOSITORY")]
    repository: String,

    /// Print one JSON object with `repository` and `tags`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    access: AccessArguments,
}

impl Arguments {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let source = self.access.open()?.source_named(&self.repository).await?;
        let tags = source
            .tags(MAX_TAGS)
            .await?
            .with_context(|| format!("{} has more than {MAX_TAGS} tags", self.repository))?;
        if self.json {
            let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
            output::json(&serde_json::json!({"repository": source.name(), "tags": tags}))?;
        } else {
            for tag in &tags {
                output::line(tag)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
