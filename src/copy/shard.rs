//! Which worker of a run copies which images. Pure: every worker reads the same plan and comes to the same
//! answer.

use std::collections::BTreeMap;

use super::{Plan, PlannedImage};
use crate::oci::{RegistryHost, Repository};

impl Plan {
    /// What the worker of this number, from 0, copies.
    ///
    /// Images of one repository share layers, so they go to one worker, as long as no worker gets more than
    /// its part by that.
    #[must_use]
    pub fn of_shard(self, number: u32) -> Self {
        let shards = usize::try_from(self.shards).unwrap_or(1).max(1);
        if shards == 1 {
            return self;
        }
        let mine = usize::try_from(number).unwrap_or(usize::MAX);
        let images = split(self.images, shards)
            .into_iter()
            .nth(mine)
            .unwrap_or_default();
        Self { images, ..self }
    }
}

/// Exactly `shards` parts, of which none has twice of what an even part has.
fn split(images: Vec<PlannedImage>, shards: usize) -> Vec<Vec<PlannedImage>> {
    let even = images.len().div_ceil(shards).max(1);
    let mut repositories: BTreeMap<(RegistryHost, Repository), Vec<PlannedImage>> = BTreeMap::new();
    for image in images {
        let key = (
            image.source.registry().clone(),
            image.source.repository().clone(),
        );
        repositories.entry(key).or_default().push(image);
    }
    let mut groups: Vec<Vec<PlannedImage>> = Vec::new();
    for mut group in repositories.into_values() {
        while group.len() > even {
            groups.push(group.split_off(group.len() - even));
        }
        groups.push(group);
    }
    // The largest first, each to the part that has the least: of equals the first, so that it is always the same.
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut parts: Vec<Vec<PlannedImage>> = vec![Vec::new(); shards];
    for group in groups {
        if let Some(smallest) = parts.iter_mut().min_by_key(|part| part.len()) {
            smallest.extend(group);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::copy::{AccessReference, PlannedOptions};
    use crate::oci::Digest;

    fn plan(shards: u32, repositories: &[usize]) -> Plan {
        let images = repositories
            .iter()
            .enumerate()
            .flat_map(|(repository, tags)| {
                (0..*tags).map(move |tag| PlannedImage {
                    source: format!("one.test/repository-{repository}:{tag}")
                        .parse()
                        .unwrap(),
                    access: AccessReference::default(),
                    digest: Digest::sha256(b"image"),
                    destinations: Vec::new(),
                })
            });
        Plan {
            version: Plan::VERSION,
            options: PlannedOptions::default(),
            shards,
            images: images.collect(),
        }
    }

    fn sources(plan: &Plan) -> Vec<String> {
        let images = plan.images.iter();
        images.map(|image| image.source.to_string()).collect()
    }

    #[test]
    fn a_repository_is_not_torn_apart_without_need() {
        let plan = plan(2, &[3, 2, 1]);
        let first = sources(&plan.clone().of_shard(0));
        assert_eq!(
            first,
            [
                "one.test/repository-0:0",
                "one.test/repository-0:1",
                "one.test/repository-0:2"
            ]
        );
        assert_eq!(plan.of_shard(1).images.len(), 3);
    }

    #[test]
    fn a_number_that_there_is_not_copies_nothing() {
        assert_eq!(plan(2, &[3]).of_shard(2).images, []);
        assert_eq!(plan(1, &[3]).of_shard(0).images.len(), 3);
    }

    proptest! {
        #[test]
        fn every_image_is_in_exactly_one_part_and_parts_are_even(
            shards in 1..9_u32,
            repositories in prop::collection::vec(0..30_usize, 0..12),
        ) {
            let plan = plan(shards, &repositories);
            let parts: Vec<Plan> = (0..shards).map(|number| plan.clone().of_shard(number)).collect();
            let mut all: Vec<String> = parts.iter().flat_map(sources).collect();
            all.sort();
            let mut expected = sources(&plan);
            expected.sort();
            prop_assert_eq!(all, expected);
            let even = plan.images.len().div_ceil(shards as usize);
            for part in &parts {
                prop_assert!(part.images.len() < 2 * even.max(1), "{} of {}", part.images.len(), even);
            }
        }
    }
}
