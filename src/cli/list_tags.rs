//! `transship list-tags`: the tags of a repository.

use std::process::ExitCode;

use clap::Args;

use super::access::AccessArguments;
use super::output;

/// Print the tags of a repository, one a line, sorted
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship list-tags registry.example/team/app
  transship list-tags alpine | grep '^3'
  transship list-tags oci:images

Exit codes: 0 printed; 1 they cannot be read; 2 wrong usage; 11 interrupted.")]
pub(super) struct Arguments {
    /// The repository, HOST/REPOSITORY, or oci:PATH or oci-archive:PATH
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
        let (source, tags) = self.access.open()?.all_of(&self.repository).await?;
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
