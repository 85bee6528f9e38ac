//! `kubectl transship get`: mirrors, and what is wrong with them.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::json;

use super::cluster::{Cluster, read};
use super::{arguments, overview};
use crate::cli::output;

/// Show mirrors: whether they are ready, and what is wrong with those that are not
///
/// One line for each mirror, and below the table sentences about those that are not ready: why, and the
/// first images that failed. RUN is for how long a run has been going.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl transship get
  kubectl transship get -A
  kubectl transship get alpine
  kubectl transship get -A -o json

Exit codes: 0 printed, whatever the state of the mirrors; 1 they cannot be read, or this version cannot \
read one of them; 2 wrong usage; 11 interrupted.")]
pub(super) struct Arguments {
    /// The mirror; all when it is left out
    #[arg(value_name = "NAME", value_parser = arguments::name, conflicts_with = "all_namespaces")]
    name: Option<String>,

    /// Mirrors of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Print the objects themselves instead
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    output: Option<Format>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Json,
    Yaml,
}

impl Arguments {
    pub(super) async fn run(self, cluster: &Cluster, words: &str) -> anyhow::Result<ExitCode> {
        let Some(name) = &self.name else {
            let objects = cluster.list(self.all_namespaces).await?;
            return match self.output {
                None => self.print_table(cluster, objects, words),
                Some(format) => {
                    let items: Vec<_> = objects.into_iter().map(without_bookkeeping).collect();
                    let list =
                        json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
                    print_document(&list, format)
                }
            };
        };
        let object = cluster.get(name).await?;
        match self.output {
            None => self.print_table(cluster, vec![object], words),
            Some(format) => print_document(&without_bookkeeping(object), format),
        }
    }

    /// One object that cannot be read does not hide the others.
    fn print_table(
        &self,
        cluster: &Cluster,
        objects: Vec<DynamicObject>,
        words: &str,
    ) -> anyhow::Result<ExitCode> {
        if objects.is_empty() {
            output::tell(if self.all_namespaces {
                "there is no ImageMirror in any namespace".to_owned()
            } else {
                format!("there is no ImageMirror in namespace {}", cluster.namespace)
            });
            return Ok(ExitCode::SUCCESS);
        }
        let mut code = ExitCode::SUCCESS;
        let mut mirrors = Vec::with_capacity(objects.len());
        for object in objects {
            match read(object) {
                Ok(mirror) => mirrors.push(mirror),
                Err(error) => {
                    output::tell(format!("Error: {error}"));
                    code = ExitCode::FAILURE;
                }
            }
        }
        let text = overview::render(&mirrors, self.all_namespaces, Timestamp::now(), words);
        output::raw(text.as_bytes())?;
        Ok(code)
    }
}

/// The object without the fields that say who wrote which, as kubectl prints it.
fn without_bookkeeping(mut object: DynamicObject) -> DynamicObject {
    object.metadata.managed_fields = None;
    object
}

fn print_document(document: &impl Serialize, format: Format) -> anyhow::Result<ExitCode> {
    match format {
        Format::Json => output::json(document)?,
        Format::Yaml => output::raw(serde_saphyr::to_string(document)?.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}
