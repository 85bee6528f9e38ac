//! The images of a mirror, one row for each destination. Pure.

use clap::ValueEnum;
use serde::Serialize;

use super::table::{self, NOTHING};
use crate::api::{ImageMirror, ImageState};

/// One image at one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    pub(super) source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_digest: Option<String>,
    pub(super) destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    pub(super) state: ImageState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// Where an image stands, as it is written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// Could not be copied
    Failed,
    /// Was in place, and someone else moved or deleted the tag
    Drifted,
    /// Is being copied
    Copying,
    /// Is to be copied
    Pending,
    /// The destination was seen to hold the source's digest
    Present,
}

/// The images of a mirror that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Listing {
    /// `NAMESPACE/NAME` of the mirror.
    pub(super) mirror: String,
    /// Images that the mirror wants, counted once for each destination.
    pub(super) desired: usize,
    /// Those that its status lists, of all states.
    pub(super) listed: usize,
    pub(super) images: Vec<Image>,
}

impl From<ImageState> for State {
    fn from(state: ImageState) -> Self {
        match state {
            ImageState::Failed => Self::Failed,
            ImageState::Drifted => Self::Drifted,
            ImageState::Copying => Self::Copying,
            ImageState::Pending => Self::Pending,
            ImageState::Present => Self::Present,
        }
    }
}

/// Every image at every destination that the status of a mirror lists, in its order.
pub(super) fn images(mirror: &ImageMirror) -> Vec<Image> {
    let status = mirror.status.iter();
    status
        .flat_map(|status| &status.images)
        .flat_map(|image| {
            image.destinations.iter().map(|destination| Image {
                source: image.source.clone(),
                source_digest: image.source_digest.clone(),
                destination: destination.reference.clone(),
                digest: destination.digest.clone(),
                state: destination.state,
                reason: destination.reason.clone(),
                message: destination.message.clone(),
            })
        })
        .collect()
}

impl Listing {
    /// The images of `mirror` in one of `states`, or in any when there are none.
    pub(super) fn new(mirror: &ImageMirror, states: &[State]) -> Self {
        let mut images = images(mirror);
        let listed = images.len();
        images.retain(|image| states.is_empty() || states.contains(&image.state.into()));
        let desired = mirror.status.as_ref().map_or(0, |status| status.desired);
        Self {
            mirror: super::cluster::full_name(mirror),
            desired: usize::try_from(desired).unwrap_or_default(),
            listed,
            images,
        }
    }

    /// What is to be said when the status does not list all images.
    pub(super) fn gap(&self) -> Option<String> {
        (self.desired > self.listed).then(|| {
            format!(
                "the status of {} lists {} of {} images, failed ones first",
                self.mirror, self.listed, self.desired
            )
        })
    }

    /// One line for each image. Where whole digests do not fit into `width`, they are cut.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let whole = self.table(str::to_owned);
        if width.is_some_and(|width| table::width(&whole) > width) {
            self.table(table::short_digest)
        } else {
            whole
        }
    }

    fn table(&self, digest: impl Fn(&str) -> String) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| NOTHING.to_owned());
        let digest =
            |text: &Option<String>| text.as_deref().map_or_else(|| NOTHING.to_owned(), &digest);
        let rows: Vec<_> = self
            .images
            .iter()
            .map(|image| {
                [
                    format!("{:?}", image.state),
                    image.source.clone(),
                    digest(&image.source_digest),
                    image.destination.clone(),
                    digest(&image.digest),
                    text(&image.reason),
                    text(&image.message),
                ]
            })
            .collect();
        let header = [
            "STATE",
            "SOURCE",
            "SOURCE DIGEST",
            "DESTINATION",
            "DIGEST",
            "REASON",
            "MESSAGE",
        ];
        table::render(header, &rows)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest() -> String {
        format!("sha256:{}", "0123456789abcdef".repeat(4))
    }

    fn mirror(desired: i64) -> ImageMirror {
        serde_json::from_value(json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {"name": "base", "namespace": "shop"},
            "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
            "status": {"desired": desired, "images": [
                {"source": "a.test/new:1", "destinations": [
                    {"reference": "b.test/new:1", "state": "Failed", "reason": "SourceNotFound", "message": "no such tag"},
                ]},
                {"source": "a.test/app:1", "sourceDigest": digest(), "destinations": [
                    {"reference": "b.test/app:1", "digest": digest(), "state": "Present"},
                    {"reference": "c.test/app:1", "state": "Copying"},
                ]},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn each_destination_has_a_line_with_whole_digests_where_they_fit() {
        let listing = Listing::new(&mirror(3), &[]);
        assert_eq!(listing.gap(), None);
        let whole = listing.render(None);
        assert_eq!(whole.lines().count(), 4);
        assert!(whole.contains(&format!(
            "\nPresent   a.test/app:1   {0}   b.test/app:1   {0}   -                -\n",
            digest()
        )));
        assert_eq!(listing.render(Some(table::width(&whole))), whole);
        let short = listing.render(Some(table::width(&whole) - 1));
        assert_eq!(
            short.lines().nth(1).unwrap(),
            "Failed    a.test/new:1   -                     b.test/new:1   -                     SourceNotFound   no such tag"
        );
        assert!(
            short.contains("sha256:0123456789ab   b.test/app:1"),
            "{short}"
        );
    }

    #[test]
    fn states_choose_rows_and_not_what_is_said_to_be_listed() {
        let listing = Listing::new(&mirror(250), &[State::Failed, State::Copying]);
        let states: Vec<_> = listing.images.iter().map(|image| image.state).collect();
        assert_eq!(states, [ImageState::Failed, ImageState::Copying]);
        let gap = listing.gap().unwrap();
        assert!(gap.contains("lists 3 of 250 images"), "{gap}");
    }

    #[test]
    fn json_has_every_field_that_is_known() {
        let listing = Listing::new(&mirror(3), &[State::Failed]);
        assert_eq!(
            serde_json::to_value(&listing).unwrap(),
            json!({"mirror": "shop/base", "desired": 3, "listed": 3, "images": [{
                "source": "a.test/new:1", "destination": "b.test/new:1", "state": "Failed",
                "reason": "SourceNotFound", "message": "no such tag",
            }]})
        );
    }

    #[test]
    fn a_mirror_that_nobody_looked_at_has_no_images() {
        let mut mirror = mirror(3);
        mirror.status = None;
        let listing = Listing::new(&mirror, &[]);
        assert_eq!((listing.desired, listing.listed), (0, 0));
    }
}
