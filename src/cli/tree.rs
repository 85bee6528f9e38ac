//! A tree of an image as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::output::{harmless, size};
use crate::inspect::Tree;
use crate::oci::{Descriptor, LayerCompression, MediaType};

/// Hexadecimal digits of a digest where a whole one does not fit.
const SHORT_DIGEST_DIGITS: usize = 12;
/// Characters of a size.
const SIZE_WIDTH: usize = 10;

/// One object of an image.
struct Row<'a> {
    /// Its place in the tree, and what it is.
    start: String,
    descriptor: &'a Descriptor,
}

/// How much of each row there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// Digests and media types.
    Whole,
    /// Digests that are cut, and media types.
    ShortDigests,
    /// Digests that are cut; of the media type, what is said before it.
    NoMediaTypes,
    /// What it is and how large.
    Sizes,
}

/// Draws the image called `name`, one object per line, the total last. With `width`, no line has more
/// characters than that.
pub(super) fn draw(name: &str, tree: &Tree, width: Option<usize>) -> String {
    let mut rows = Vec::new();
    collect(&mut rows, &Indent::default(), None, tree);
    let detail = width.map_or(Detail::Whole, |width| fitting(&rows, width));
    let mut lines = vec![name.to_owned()];
    let start_width = start_width(&rows);
    lines.extend(rows.iter().map(|row| row.line(start_width, detail)));
    lines.push(total(tree));
    let mut text = String::new();
    for line in lines {
        text.push_str(&match width {
            Some(width) => cut(&line, width),
            None => line,
        });
        text.push('\n');
    }
    text
}

/// The most detail with which every row fits.
fn fitting(rows: &[Row<'_>], width: usize) -> Detail {
    let start_width = start_width(rows);
    let fits = |detail: &Detail| {
        rows.iter()
            .all(|row| row.line(start_width, *detail).chars().count() <= width)
    };
    [Detail::Whole, Detail::ShortDigests, Detail::NoMediaTypes]
        .into_iter()
        .find(fits)
        .unwrap_or(Detail::Sizes)
}

fn start_width(rows: &[Row<'_>]) -> usize {
    let widths = rows.iter().map(|row| row.start.chars().count());
    widths.max().unwrap_or_default()
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut text: String = line.chars().take(width.saturating_sub(1)).collect();
    text.push('…');
    text
}

impl Row<'_> {
    fn line(&self, start_width: usize, detail: Detail) -> String {
        let digest = self.descriptor.digest.as_str();
        let short = || match digest.split_once(':') {
            Some((algorithm, hex)) => {
                let hex: String = hex.chars().take(SHORT_DIGEST_DIGITS).collect();
                format!("{algorithm}:{hex}")
            }
            None => digest.to_owned(),
        };
        let media_type = harmless(self.descriptor.media_type.as_str());
        let start = &self.start;
        let size = size(self.descriptor.size);
        let line = format!("{start:start_width$}  {size:>SIZE_WIDTH$}");
        match detail {
            Detail::Whole => format!("{line}  {digest}  {media_type}"),
            Detail::ShortDigests => format!("{line}  {}  {media_type}", short()),
            Detail::NoMediaTypes => format!("{line}  {}", short()),
            Detail::Sizes => line,
        }
    }
}

/// `total: 4 manifests, 13.01 MiB in 7 different blobs`
fn total(tree: &Tree) -> String {
    let mut seen = BTreeSet::new();
    let blobs: Vec<&Descriptor> = tree
        .walk()
        .flat_map(Tree::blobs)
        .filter(|blob| seen.insert(&blob.digest))
        .collect();
    let bytes = blobs.iter().map(|blob| blob.size).sum();
    let manifests: BTreeSet<_> = tree.walk().map(|node| &node.descriptor.digest).collect();
    format!(
        "total: {}, {} in {}",
        count(manifests.len(), "manifest"),
        size(bytes),
        count(blobs.len(), "different blob"),
    )
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

fn collect<'a>(rows: &mut Vec<Row<'a>>, indent: &Indent, role: Option<&str>, tree: &'a Tree) {
    let row = |indent: &Indent, label: String, descriptor| Row {
        start: format!("{}{label}", indent.this),
        descriptor,
    };
    rows.push(row(indent, label(role, tree), &tree.descriptor));
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
        collect(rows, &next(), None, manifest);
    }
    if let Some(config) = &tree.config {
        rows.push(row(&next(), blob_label("config", config), config));
    }
    for layer in &tree.layers {
        rows.push(row(&next(), blob_label("layer", layer), layer));
    }
    for referrer in &tree.referrers {
        collect(rows, &next(), Some("referrer"), referrer);
    }
}

/// `linux/arm64 image (OCI), 3.45 MiB`, `referrer application/spdx+json`, `index (Docker), not here`
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
    let mut is_image = false;
    if descriptor.is_attestation() {
        label.push_str("attestation");
    } else if let Some(kind) = tree.artifact_type() {
        label.push_str(&harmless(kind.as_str()));
    } else {
        is_image = !descriptor.media_type.is_index();
        label.push_str(if is_image { "image" } else { "index" });
        let format = if descriptor.media_type.is_docker() {
            "Docker"
        } else {
            "OCI"
        };
        let _ = write!(label, " ({format})");
    }
    if tree.absent {
        label.push_str(", not here");
    } else if is_image {
        let bytes = tree.blobs().map(|blob| blob.size).sum();
        let _ = write!(label, ", {}", size(bytes));
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::oci::Digest;

    fn image() -> Tree {
        let descriptor = |kind: &str, content: &[u8], size| {
            Descriptor::new(MediaType::new(kind), Digest::sha256(content), size)
        };
        let mut platform = descriptor(MediaType::OCI_MANIFEST, b"image", 586);
        platform.platform = Some("linux/arm64".parse().unwrap());
        Tree {
            manifests: vec![Tree {
                config: Some(descriptor(MediaType::OCI_CONFIG, b"config", 234)),
                layers: vec![descriptor(MediaType::OCI_LAYER_GZIP, b"layer", 3 << 20)],
                ..Tree::leaf(platform)
            }],
            ..Tree::leaf(descriptor(MediaType::OCI_INDEX, b"index", 517))
        }
    }

    #[rstest]
    #[case(200, true, true)]
    #[case(120, false, true)]
    #[case(80, false, false)]
    #[case(30, false, false)]
    #[case(7, false, false)]
    #[case(1, false, false)]
    fn no_line_is_wider_than_the_terminal(
        #[case] width: usize,
        #[case] whole_digests: bool,
        #[case] media_types: bool,
    ) {
        let image = image();
        let text = draw("registry.test/app:1", &image, Some(width));
        assert!(
            text.lines().all(|line| line.chars().count() <= width),
            "{text}"
        );
        assert_eq!(text.lines().count(), 6, "{text}");
        let digest = image.descriptor.digest.as_str();
        assert_eq!(text.contains(digest), whole_digests, "{text}");
        let start: String = digest.chars().take(7 + SHORT_DIGEST_DIGITS).collect();
        assert_eq!(text.contains(&start), width >= 80, "{text}");
        assert_eq!(text.contains(MediaType::OCI_INDEX), media_types, "{text}");
    }

    #[test]
    fn what_is_no_terminal_gets_everything() {
        let text = draw("registry.test/app:1", &image(), None);
        assert!(
            text.contains("└─ linux/arm64 image (OCI), 3.00 MiB "),
            "{text}"
        );
        for row in [MediaType::OCI_INDEX, MediaType::OCI_LAYER_GZIP] {
            assert!(text.contains(row), "{text}");
        }
        let size_columns: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.split_once("sha256:"))
            .map(|(start, _)| start.chars().count())
            .collect();
        assert_eq!(size_columns.len(), 1, "{text}");
    }
}
