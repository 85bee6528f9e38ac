//! The newest few of the tags that match.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Version;
use crate::oci::Tag;

/// How many of the newest tags are selected, and what newer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// How many; with [`Order::Semver`] of each family.
    pub count: usize,
    /// What newer means.
    pub order: Order,
}

/// What makes one tag newer than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The higher version (semver.org, 11). Tags that are no versions are not selected, and each
    /// family counts for itself: the newest two of `1.28`, `1.29`, `1.28-alpine` and `1.29-alpine` are all four.
    Semver,
    /// The later one in the order of bytes, for tags that begin with a date.
    Alphabetical,
    /// The one whose image was created later. Tags whose image does not say when are not selected.
    Created,
}

/// When the images of tags were created.
pub type CreationTimes = BTreeMap<Tag, Timestamp>;

impl Latest {
    /// The newest of `tags`.
    pub(super) fn of<'a>(
        self,
        tags: impl Iterator<Item = &'a Tag>,
        prerelease: bool,
        created: &CreationTimes,
    ) -> Vec<Tag> {
        match self.order {
            Order::Created => {
                let mut tags: Vec<(Timestamp, &Tag)> = tags
                    .filter_map(|tag| Some((*created.get(tag)?, tag)))
                    .collect();
                // The name decides between those of one moment, so that it is always the same one.
                tags.sort_by_key(|(created, tag)| Reverse((*created, tag.as_str())));
                let newest = tags.into_iter().take(self.count);
                newest.map(|(_, tag)| tag.clone()).collect()
            }
            Order::Alphabetical => {
                let mut tags: Vec<&Tag> = tags.collect();
                tags.sort_by_key(|tag| Reverse(tag.as_str()));
                tags.into_iter().take(self.count).cloned().collect()
            }
            Order::Semver => {
                let mut families: BTreeMap<&str, Vec<(Version<'_>, &Tag)>> = BTreeMap::new();
                for tag in tags {
                    if let Some(version) = Version::parse(tag.as_str())
                        && (prerelease || !version.is_prerelease())
                    {
                        let family = families.entry(version.family()).or_default();
                        family.push((version, tag));
                    }
                }
                let newest = families.into_values().flat_map(|mut family| {
                    // The name decides between `1.2` and `v1.2`, so that it is always the same one.
                    family.sort_by(|(left, name), (right, other)| {
                        right.compare(left).then_with(|| name.cmp(other))
                    });
                    family.into_iter().take(self.count)
                });
                newest.map(|(_, tag)| tag.clone()).collect()
            }
        }
    }
}
