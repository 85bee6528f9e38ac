//! One image that is converted and then written to each of its targets.

use std::sync::Arc;

use futures::future::join_all;

use super::ConvertedImage;
use crate::copy::blob::Trust;
use crate::copy::closure::Closure;
use crate::copy::engine::{Engine, Goal, ImageOutcome};
use crate::copy::{Copied, Failure, ImageCopy, Selection};
use crate::oci::{Digest, Manifest};
use crate::reason::Reason;
use crate::transport::Source;

/// An image before its conversion.
pub(in crate::copy) struct Original<'a> {
    /// Where it can be read.
    pub(in crate::copy) place: &'a Arc<dyn Source>,
    /// What the source calls it.
    pub(in crate::copy) digest: &'a Digest,
    /// What is converted of it.
    pub(in crate::copy) root: Manifest,
}

impl Engine<'_> {
    /// Writes an image in its new form wherever something else is.
    pub(in crate::copy) async fn write_converted(
        &self,
        copy: &ImageCopy,
        goals: &[Goal<'_>],
        current: Vec<Result<Option<Digest>, Failure>>,
        image: Original<'_>,
        trust: Trust,
    ) -> Result<ImageOutcome, Failure> {
        let Original {
            place,
            digest: source,
            root,
        } = image;
        if matches!(self.options.platforms, Selection::Sparse(_)) {
            return Err(Failure {
                reason: Reason::ConversionUnsupported,
                message: format!(
                    "index {source} cannot be converted and keep naming images that are not copied: let it be rewritten for the platforms"
                ),
            });
        }
        let alone = self.root_lock(root.digest());
        let alone = alone.lock().await;
        let _room = self.conversions.room().await;
        let closure = Closure::read(place, root, &Selection::All).await?;
        let writes = goals.iter().zip(current).map(|(goal, current)| {
            let closure = &closure;
            async move {
                let current = current?;
                let memo = self.conversions.memo(goal, current.as_ref(), trust).await;
                let image = self
                    .conversions
                    .convert(place, closure, goal, &memo)
                    .await?;
                let unchanged = current.as_ref() == Some(image.closure.root_digest());
                if !unchanged {
                    self.writer(&image.source, &goal.destination)
                        .write(&image.closure, goal.target.tag.as_ref(), trust)
                        .await?;
                }
                let copied = Copied {
                    source: source.clone(),
                    digest: image.closure.root_digest().clone(),
                    unchanged,
                };
                Ok((copied, image))
            }
        });
        let written: Vec<Result<(Copied, ConvertedImage), Failure>> = join_all(writes).await;
        drop(alone);
        // What is said of the original is not true of what was made of it.
        let subjects = written
            .iter()
            .find_map(|result| result.as_ref().ok())
            .filter(|_| Arc::ptr_eq(place, &copy.source))
            .map_or_else(Vec::new, |(_, image)| image.unchanged.clone());
        let mut outcome: ImageOutcome = written
            .into_iter()
            .map(|result| result.map(|(copied, _)| copied))
            .collect();
        let referrers = self.list_referrers(copy, &subjects).await;
        self.copy_referrers(copy, referrers, goals, &mut outcome)
            .await;
        Ok(outcome)
    }
}
