//! Keeps the record of what a mirror wrote, and removes what is not wanted any more: while the mirror lives by the
//! rules of `spec.prune`, at its end by those of `spec.deletionPolicy`.

use std::time::Duration;

use jiff::Timestamp;
use kube::Resource as _;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::json;

use super::decide::{Decision, EndedRun};
use super::ledger::{Ledger, Written};
use super::prune::{self, MAX_REMOVALS, PrunePlan, PruneRules};
use super::removal::{Removal, remove};
use super::scan::Scan;
use super::{Error, GIVE_UP_PAUSE, Reconciler};
use crate::api::{
    DeletionPolicy, FIELD_MANAGER, FINALIZER, ImageMirror, PruneMode, PruneStatus, UnwantedTag,
};
use crate::controller::events::{Notice, Severity};
use crate::controller::request::{RequestError, request};
use crate::controller::stored::StoredMirror;
use crate::reason::Reason;

/// Unwanted tags that the status lists.
const MAX_LISTED: usize = 50;
/// How long a mirror that is deleted waits for its tags to be removed.
const PATIENCE_AT_THE_END: Duration = Duration::from_mins(10);
/// How long to wait before what could not be removed at the end is tried again.
const RETRY_AT_THE_END: Duration = Duration::from_secs(15);

/// What was done about tags that are not wanted, and what the status says of it.
#[derive(Debug, Default)]
pub(super) struct Pruned {
    /// For the status; nothing when nothing is remembered.
    pub(super) status: Option<PruneStatus>,
    /// When there is something to do again.
    pub(super) next: Option<Timestamp>,
    /// What people are told.
    pub(super) notices: Vec<Notice>,
}

/// Whether a record is kept of what the mirror writes.
fn keeps_record(mirror: &ImageMirror, rules: &PruneRules) -> bool {
    rules.mode != PruneMode::None || mirror.spec.deletion_policy == DeletionPolicy::Delete
}

impl Reconciler<'_> {
    /// After a scan: writes down what was written, and removes what is due. The record is changed before the
    /// status is, so that what a run wrote is never forgotten.
    pub(super) async fn prune(
        &self,
        rules: &PruneRules,
        scan: &Scan,
        decision: &Decision,
        ended_run: Option<&EndedRun>,
    ) -> Result<Pruned, Error> {
        if !keeps_record(&self.mirror, rules) {
            return Ok(Pruned::default());
        }
        let Some(entries) = self.pages.read::<Written>(&self.mirror).await? else {
            return Ok(damaged_record());
        };
        let before = Ledger::new(entries);
        let mut ledger = before.clone();
        if let Some(run) = ended_run {
            ledger.record(scan, decision, run);
        }
        ledger.mark(scan, self.now);
        let plan = prune::plan(&ledger, rules, self.now);
        let mut pruned = Pruned::default();
        let mut problem = plan.blocked.clone();
        if !plan.removals().is_empty() {
            let due: Vec<Written> = plan
                .removals()
                .iter()
                .map(|(written, _)| written.clone())
                .collect();
            let failed = self
                .remove_all(&due, &mut ledger, &mut pruned.notices)
                .await?;
            problem = failed.into_iter().next();
        }
        if ledger != before {
            self.write_ledger(&ledger).await?;
        }
        let plan = PrunePlan {
            blocked: problem,
            ..prune::plan(&ledger, rules, self.now)
        };
        pruned.next = plan.next(self.now);
        pruned.status = (rules.mode != PruneMode::None).then(|| status(&ledger, &plan));
        Ok(pruned)
    }

    /// Removes what can be removed, and says why the rest could not.
    async fn remove_all(
        &self,
        due: &[Written],
        ledger: &mut Ledger,
        notices: &mut Vec<Notice>,
    ) -> Result<Vec<String>, Error> {
        let accesses = due.iter().map(|written| written.access.clone()).collect();
        let registries = self.registries(&accesses).await?;
        let mut failed = Vec::new();
        for written in due {
            let claims = &self.context.claims;
            if claims.is_wanted_by_another(&self.mirror, &written.reference) {
                ledger.remove(&written.reference);
                continue;
            }
            match remove(&registries, written).await {
                Removal::Removed => {
                    ledger.remove(&written.reference);
                    notices.push(Notice::new(
                        Severity::Normal,
                        Reason::Pruned,
                        format!("removed {} ({})", written.reference, written.digest),
                    ));
                }
                Removal::Gone | Removal::Moved => ledger.remove(&written.reference),
                Removal::Failed(failure) => failed.push(failure.message),
            }
        }
        Ok(failed)
    }

    async fn write_ledger(&self, ledger: &Ledger) -> Result<(), Error> {
        let entries: Vec<Written> = ledger.entries().cloned().collect();
        self.pages.write(&self.mirror, &entries).await?;
        Ok(())
    }

    /// The mirror is deleted: removes what it wrote, and lets it go. It always comes to an end.
    pub(super) async fn finalize(&self) -> Result<Action, Error> {
        let jobs = self.runs.of_mirror(&self.mirror, self.now).await?;
        if let Some(run) = jobs.newest.filter(|run| !run.ended) {
            self.runs.stop(&run.job).await?;
            return Ok(Action::requeue(GIVE_UP_PAUSE));
        }
        let mut left = Vec::new();
        if self.mirror.spec.deletion_policy == DeletionPolicy::Delete {
            let entries = self.pages.read::<Written>(&self.mirror).await?;
            let mut ledger = Ledger::new(entries.unwrap_or_default());
            let due: Vec<Written> = ledger.entries().take(MAX_REMOVALS).cloned().collect();
            let mut notices = Vec::new();
            if !due.is_empty() {
                left = self.remove_all(&due, &mut ledger, &mut notices).await?;
                self.write_ledger(&ledger).await?;
            }
            self.publish(&notices).await;
            let is_over = self.has_been_deleted_for(PATIENCE_AT_THE_END);
            if ledger.len() > 0 && !is_over {
                let progressed = left.len() < due.len();
                let pause = if progressed {
                    Duration::ZERO
                } else {
                    RETRY_AT_THE_END
                };
                return Ok(Action::requeue(pause));
            }
        }
        if let Some(problem) = left.first() {
            let message = format!("{} tags were left behind: {problem}", left.len());
            let notice = Notice::new(Severity::Warning, Reason::PruneFailed, message);
            self.publish(&[notice]).await;
        }
        self.set_finalizer(false).await?;
        Ok(Action::await_change())
    }

    fn has_been_deleted_for(&self, time: Duration) -> bool {
        let deleted = self.mirror.metadata.deletion_timestamp.as_ref();
        deleted.is_some_and(|deleted| {
            Duration::try_from(self.now.duration_since(deleted.0))
                .is_ok_and(|elapsed| elapsed > time)
        })
    }

    /// Gives the mirror our finalizer while there is something to do at its end, and takes it away otherwise.
    pub(super) async fn keep_finalizer(&self) -> Result<(), Error> {
        let wanted = self.mirror.spec.deletion_policy == DeletionPolicy::Delete;
        if wanted == has_finalizer(&self.mirror.metadata) {
            return Ok(());
        }
        self.set_finalizer(wanted).await
    }

    async fn set_finalizer(&self, wanted: bool) -> Result<(), Error> {
        Ok(set_finalizer(&self.api, &self.mirror.metadata, wanted).await?)
    }

    pub(super) async fn publish(&self, notices: &[Notice]) {
        for notice in notices {
            self.context
                .events
                .publish(&self.mirror.object_ref(&()), notice)
                .await;
        }
    }
}

/// With the resource version: somebody else may have changed the list since it was read.
pub(super) async fn set_finalizer(
    api: &Api<StoredMirror>,
    metadata: &ObjectMeta,
    wanted: bool,
) -> Result<(), RequestError> {
    let present = metadata.finalizers.iter().flatten().map(String::as_str);
    let mut finalizers: Vec<&str> = present
        .filter(|finalizer| *finalizer != FINALIZER)
        .collect();
    if wanted {
        finalizers.push(FINALIZER);
    }
    let patch = json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": metadata.resource_version,
    }});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let name = metadata.name.as_deref().unwrap_or_default();
    request(api.patch(name, &parameters, &Patch::Merge(&patch))).await?;
    Ok(())
}

/// Whether the mirror waits for us when it is deleted.
pub(super) fn has_finalizer(metadata: &ObjectMeta) -> bool {
    let mut finalizers = metadata.finalizers.iter().flatten();
    finalizers.any(|finalizer| finalizer == FINALIZER)
}

/// Without the record nobody knows what the mirror wrote, so nothing is removed.
fn damaged_record() -> Pruned {
    Pruned {
        status: Some(PruneStatus {
            message: Some(
                "the record of what this mirror wrote was changed by somebody else: nothing is removed; delete its ConfigMaps (their names contain -written-) to begin a new one"
                    .to_owned(),
            ),
            ..PruneStatus::default()
        }),
        ..Pruned::default()
    }
}

fn status(ledger: &Ledger, plan: &PrunePlan) -> PruneStatus {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let tags = plan.unwanted.iter().take(MAX_LISTED);
    PruneStatus {
        written: count(ledger.len()),
        unwanted: count(plan.unwanted.len()),
        message: plan.blocked.clone(),
        tags: tags
            .map(|(written, after)| UnwantedTag {
                reference: written.reference.to_string(),
                digest: written.digest.to_string(),
                remove_after: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(*after),
            })
            .collect(),
    }
}
