//! A tree of an image as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::output::{harmless, size};
use crate::inspect::Tree;
use crate::oci::{Descriptor, LayerCompression, MediaType};

/// Characters up to the column of sizes.
const LABEL_WIDTH: usize = 44;

/// Draws the image called `name`, one object per line, the total last.
pub(super) fn draw(name: &str, tree: &Tree) -> String {
    let mut text = format!("{name}\n");
    draw_manifest(&mut text, &Indent::default(), None, tree);
    let mut seen = BTreeSet::new();
    let blobs: Vec<&Descriptor> = tree
        .walk()
        .flat_map(Tree::blobs)
        .filter(|blob| seen.insert(&blob.digest))
        .collect();
    let bytes = blobs.iter().map(|blob| blob.size).sum();
    let manifests: BTreeSet<_> = tree.walk().map(|node| &node.descriptor.digest).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "total: {}, {} in {}",
        count(manifests.len(), "manifest"),
        size(bytes),
        count(blobs.len(), "different blob"),
    );
    text
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What stands before a line, and before those below it.
#[derive(Default)]
struct Indent {
    this: String,
    below: String,
}

impl Indent {
    fn child(&self, is_last: bool) -> Self {
        let (this, below) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        Self {
            this: format!("{}{this}", self.below),
            below: format!("{}{below}", self.below),
        }
    }
}

fn draw_manifest(text: &mut String, indent: &Indent, role: Option<&str>, tree: &Tree) {
    draw_line(text, indent, &label(role, tree), &tree.descriptor);
    let children = tree.manifests.len()
        + usize::from(tree.config.is_some())
        + tree.layers.len()
        + tree.referrers.len();
    let mut left = children;
    let mut next = || {
        left -= 1;
        indent.child(left == 0)
    };
    for manifest in &tree.manifests {
        draw_manifest(text, &next(), None, manifest);
    }
    if let Some(config) = &tree.config {
        draw_line(text, &next(), &blob_label("config", config), config);
    }
    for layer in &tree.layers {
        draw_line(text, &next(), &blob_label("layer", layer), layer);
    }
    for referrer in &tree.referrers {
        draw_manifest(text, &next(), Some("referrer"), referrer);
    }
}

fn draw_line(text: &mut String, indent: &Indent, label: &str, descriptor: &Descriptor) {
    let start = format!("{}{label}", indent.this);
    let _ = writeln!(
        text,
        "{start:LABEL_WIDTH$} {:>11}  {}",
        size(descriptor.size),
        descriptor.digest
    );
}

/// `linux/arm64 image (OCI)`, `referrer application/spdx+json`, `index (Docker), absent`
fn label(role: Option<&str>, tree: &Tree) -> String {
    let mut label = String::new();
    let descriptor = &tree.descriptor;
    if let Some(platform) = &descriptor.platform
        && !platform.is_unknown()
    {
        let _ = write!(label, "{platform} ");
    }
    if let Some(role) = role {
        let _ = write!(label, "{role} ");
    }
    let kind = if descriptor.is_attestation() {
        "attestation".to_owned()
    } else if let Some(kind) = tree.artifact_type() {
        harmless(kind.as_str())
    } else if descriptor.media_type.is_index() {
        "index".to_owned()
    } else {
        "image".to_owned()
    };
    label.push_str(&kind);
    if descriptor.media_type.is_docker() {
        label.push_str(" (Docker)");
    }
    if tree.absent {
        label.push_str(", not here");
    }
    label
}

/// `layer gzip`, or the media type where the usual words do not fit.
fn blob_label(role: &str, blob: &Descriptor) -> String {
    let media_type = &blob.media_type;
    let compression = media_type.layer_compression();
    match (role, compression) {
        ("config", _) if media_type.is_image_config() => role.to_owned(),
        ("layer", Some(compression)) if !media_type.is_encrypted_layer() => {
            let compression = match compression {
                LayerCompression::None => "tar",
                LayerCompression::Gzip => "gzip",
                LayerCompression::Zstd => "zstd",
            };
            let place = if media_type.is_nondistributable_layer() {
                ", from elsewhere"
            } else {
                ""
            };
            format!("layer {compression}{place}")
        }
        _ if media_type.as_str() == MediaType::OCI_EMPTY => format!("{role} (empty)"),
        _ => format!("{role} {}", harmless(media_type.as_str())),
    }
}
