//! What the operator asked of the API server, as the audit log has it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;

/// The log, read from where it was left.
pub(crate) struct AuditLog {
    path: PathBuf,
    position: u64,
}

/// Requests by verb and resource.
#[derive(Debug, Default)]
pub(crate) struct Requests(BTreeMap<(String, String), u64>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    verb: String,
    object_ref: Option<Object>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
}

impl AuditLog {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, position: 0 }
    }

    /// All requests since this was called the last time.
    pub(crate) fn take(&mut self) -> anyhow::Result<Requests> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut reader = BufReader::new(file);
        let mut requests = Requests::default();
        let mut line = String::new();
        loop {
            line.clear();
            let length = reader.read_line(&mut line)?;
            // The last line may still be being written.
            if !line.ends_with('\n') {
                return Ok(requests);
            }
            self.position += length as u64;
            requests.add(serde_json::from_str(&line)?);
        }
    }
}

impl Requests {
    fn add(&mut self, entry: Entry) {
        let object = entry.object_ref.unwrap_or(Object {
            resource: "server".to_owned(),
            subresource: String::new(),
        });
        let mut resource = object.resource;
        if !object.subresource.is_empty() {
            resource = format!("{resource}/{}", object.subresource);
        }
        *self.0.entry((entry.verb, resource)).or_default() += 1;
    }

    /// How many changed something: all but what keeps the leader the leader, which is a request every other
    /// second however many mirrors there are.
    pub(crate) fn writes(&self) -> u64 {
        let reads = ["get", "list", "watch"];
        let writes = self.0.iter().filter(|((verb, resource), _)| {
            !reads.contains(&verb.as_str()) && resource != "leases"
        });
        writes.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self
            .0
            .iter()
            .map(|((verb, resource), count)| format!("{count} {verb} {resource}"));
        formatter.write_str(&kinds.collect::<Vec<_>>().join(", "))
    }
}
