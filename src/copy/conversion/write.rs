//! One image that is converted and then written to each of its targets.

use std::sync::Arc;

use futures::future::join_all;

use super::{ConvertedImage, Effort};
use crate::copy::blob::Trust;
use crate::copy::closure::Closure;
use crate::copy::engine::{Current, Engine, Goal, ImageOutcome};
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
        current: Current,
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
                self.write_converted_to(goal, closure, current?, place, source, trust)
                    .await
            }
        });
        let written: Vec<Result<(Copied, Vec<Digest>), Failure>> = join_all(writes).await;
        drop(alone);
        // What is said of the original is not true of what was made of it.
        let subjects = written
            .iter()
            .flatten()
            .find(|(copied, _)| copied.is_in_place())
            .filter(|_| Arc::ptr_eq(place, &copy.source))
            .map_or_else(Vec::new, |(_, unchanged)| unchanged.clone());
        let mut outcome: ImageOutcome = written
            .into_iter()
            .map(|result| result.map(|(copied, _)| copied))
            .collect();
        let referrers = self.list_referrers(copy, &subjects).await;
        self.copy_referrers(copy, referrers, goals, &mut outcome)
            .await;
        Ok(outcome)
    }

    /// Converts the image `closure` for one target, and writes it there if `current` is something else.
    /// Also gives the manifests that the conversion has left as they are.
    ///
    /// Where a tag may not be moved nothing is compressed only to compare: what the destination does
    /// not remember as made of this image was not made of it.
    async fn write_converted_to(
        &self,
        goal: &Goal<'_>,
        closure: &Closure,
        current: Option<Digest>,
        place: &Arc<dyn Source>,
        source: &Digest,
        trust: Trust,
    ) -> Result<(Copied, Vec<Digest>), Failure> {
        let target = goal.target;
        let protected = current.as_ref().filter(|_| target.protects_tag());
        let effort = if protected.is_some() {
            Effort::Remember
        } else {
            Effort::Compress
        };
        let memo = self
            .conversions
            .memo(goal, current.as_ref(), trust, effort)
            .await?;
        let converted = self
            .conversions
            .convert(place, closure, goal, &memo, effort)
            .await?;
        let Some(ConvertedImage {
            source: content,
            closure,
            unchanged,
        }) = converted
        else {
            // Only for a tag that is there and stays is nothing compressed.
            let found = protected.unwrap_or(source);
            return Ok((target.leave_unread(source, found)?, Vec::new()));
        };
        let wanted = closure.root_digest();
        if let Some(result) = target.settle(source, wanted, current.as_ref()) {
            return Ok((result?, unchanged));
        }
        let tagged = self
            .writer(&content, &goal.destination)
            .write(&closure, goal.tag(), trust)
            .await?;
        Ok((goal.written(source, wanted, tagged)?, unchanged))
    }
}
