//! `transship crds`: the definitions of the custom resources.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use kube::ResourceExt as _;

use super::output;
use crate::api;

/// Print the definitions of the custom resources
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship crds | kubectl apply --server-side -f -
  transship crds --directory crds
  transship crds --format markdown

Exit codes: 0 printed or written; 1 a file cannot be written; 2 wrong usage.")]
pub(super) struct Arguments {
    /// Write one file per definition into this directory, which must be there, instead
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,

    /// Print this instead: a description of every field, for people
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// The definitions, for a cluster
    Yaml,
    /// Tables of all fields, for people
    Markdown,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        for definition in api::definitions().context("cannot build the definitions")? {
            let (name, text) = match self.format {
                Format::Yaml => {
                    let yaml = serde_saphyr::to_string(&definition)
                        .context("cannot write a definition as YAML")?;
                    (format!("{}.yaml", definition.name_any()), yaml)
                }
                Format::Markdown => {
                    let name = definition.spec.names.kind.to_lowercase();
                    (format!("{name}.md"), api::reference(&definition))
                }
            };
            match (&self.directory, self.format) {
                (Some(directory), _) => {
                    let path = directory.join(name);
                    std::fs::write(&path, text)
                        .with_context(|| format!("cannot write {}", path.display()))?;
                }
                (None, Format::Yaml) => output::raw(format!("---\n{text}").as_bytes())?,
                (None, Format::Markdown) => output::raw(text.as_bytes())?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
