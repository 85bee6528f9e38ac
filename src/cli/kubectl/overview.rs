//! Mirrors in a table, and below it in sentences what is wrong with those that are not ready. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;

use super::cluster::full_name;
use super::listing::{self, Image};
use super::table::{self, NOTHING};
use crate::api::{
    ConditionType, ImageMirror, ImageMirrorStatus, ImageState, RunStatus, find_condition,
};
use crate::cli::output::harmless;

/// Failed images of one mirror that are told one by one.
const MAX_TOLD_IMAGES: usize = 3;

/// The table of `mirrors` and what is wrong with them. `words` is how this program is called, for the
/// commands that are recommended.
pub(super) fn render(
    mirrors: &[ImageMirror],
    everywhere: bool,
    now: Timestamp,
    words: &str,
) -> String {
    let rows: Vec<_> = mirrors.iter().map(|mirror| row(mirror, now)).collect();
    let mut text = if everywhere {
        let header = [
            "NAMESPACE",
            "NAME",
            "READY",
            "IMAGES",
            "REASON",
            "RUN",
            "NEXT SCAN",
        ];
        table::render(header, &rows)
    } else {
        let header = ["NAME", "READY", "IMAGES", "REASON", "RUN", "NEXT SCAN"];
        let rows: Vec<_> = rows
            .into_iter()
            .map(|[_namespace, name, ready, images, reason, run, next]| {
                [name, ready, images, reason, run, next]
            })
            .collect();
        table::render(header, &rows)
    };
    for trouble in mirrors.iter().filter_map(|mirror| trouble(mirror, words)) {
        text.push('\n');
        text.push_str(&trouble);
    }
    text
}

/// Whether the operator has acted upon the newest spec.
pub(super) fn is_observed(mirror: &ImageMirror) -> bool {
    let observed = status(mirror).and_then(|status| status.observed_generation);
    observed.is_some() && observed == mirror.metadata.generation
}

/// The run that is going on.
pub(super) fn current_run(status: &ImageMirrorStatus) -> Option<&RunStatus> {
    status
        .run
        .as_ref()
        .filter(|run| run.completion_time.is_none())
}

fn status(mirror: &ImageMirror) -> Option<&ImageMirrorStatus> {
    mirror.status.as_ref()
}

/// A condition, unless it is about an older spec that somebody wants to be acted upon.
fn condition(mirror: &ImageMirror, type_: ConditionType) -> Option<&Condition> {
    let condition = find_condition(&status(mirror)?.conditions, type_)?;
    (mirror.spec.suspend || is_observed(mirror)).then_some(condition)
}

fn row(mirror: &ImageMirror, now: Timestamp) -> [String; 7] {
    let ready = condition(mirror, ConditionType::Ready);
    let images = status(mirror).map_or("", |status| &status.summary);
    let run = status(mirror).and_then(current_run).map(|run| {
        run.start_time.as_ref().map_or_else(
            || "going".to_owned(),
            |start| table::age(table::since(start.0, now)),
        )
    });
    [
        mirror.namespace().unwrap_or_default(),
        mirror.name_any(),
        ready.map_or("Unknown", |ready| &ready.status).to_owned(),
        if images.is_empty() { NOTHING } else { images }.to_owned(),
        ready.map_or(NOTHING, |ready| &ready.reason).to_owned(),
        run.unwrap_or_else(|| NOTHING.to_owned()),
        next_scan(mirror, now),
    ]
}

fn next_scan(mirror: &ImageMirror, now: Timestamp) -> String {
    if mirror.metadata.deletion_timestamp.is_some() {
        return "never, it is being deleted".to_owned();
    }
    if mirror.spec.suspend {
        return "suspended".to_owned();
    }
    let next = status(mirror).and_then(|status| status.next_scan_time.as_ref());
    match next {
        Some(next) if next.0 > now => format!("in {}", table::age(table::since(now, next.0))),
        Some(_) => "due".to_owned(),
        None => NOTHING.to_owned(),
    }
}

/// What is wrong with a mirror, if anything is that somebody has not asked for.
fn trouble(mirror: &ImageMirror, words: &str) -> Option<String> {
    let name = full_name(mirror);
    if mirror.spec.suspend || mirror.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let Some(ready) = condition(mirror, ConditionType::Ready) else {
        return Some(format!(
            "{name}: the operator has not acted upon its newest spec yet\n"
        ));
    };
    if ready.status == "True" {
        return None;
    }
    let standing = if condition(mirror, ConditionType::Stalled).is_some() {
        "has stalled until somebody mends it"
    } else if ready.status == "Unknown" {
        "is not ready yet"
    } else {
        "is not ready, and tries again"
    };
    let mut text = format!(
        "{name} {standing}: {}: {}\n",
        harmless(&ready.reason),
        harmless(&ready.message)
    );
    let failed: Vec<_> = listing::images(mirror)
        .into_iter()
        .filter(|image| image.state == ImageState::Failed)
        .collect();
    for image in failed.iter().take(MAX_TOLD_IMAGES) {
        let Image {
            source,
            destination,
            ..
        } = image;
        let reason = image.reason.as_deref().unwrap_or("no reason is known");
        let message = image.message.as_deref().unwrap_or("no details are known");
        let line = format!("{source} to {destination}: {reason}: {message}");
        let _ = writeln!(text, "  {}", harmless(&line));
    }
    let count = status(mirror).map_or(0, |status| usize::try_from(status.failed).unwrap_or(0));
    let more = count.max(failed.len()).saturating_sub(MAX_TOLD_IMAGES);
    if more > 0 {
        let _ = writeln!(
            text,
            "  {more} more: {words} images {} --namespace {} --state failed",
            mirror.name_any(),
            mirror.namespace().unwrap_or_default()
        );
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn condition_of(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "observedGeneration": 2, "lastTransitionTime": "2026-01-01T11:00:00Z",
        })
    }

    fn mirror(name: &str, change: impl FnOnce(&mut Value)) -> ImageMirror {
        let mut mirror = json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {"name": name, "namespace": "shop", "generation": 2},
            "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
            "status": {
                "observedGeneration": 2, "summary": "4/4", "desired": 4, "present": 4,
                "nextScanTime": "2026-01-01T12:48:00Z",
                "run": {"job": "old", "completionTime": "2026-01-01T11:00:00Z"},
                "conditions": [condition_of("Ready", "True", "Succeeded", "4 images in place in every destination")],
            },
        });
        change(&mut mirror);
        serde_json::from_value(mirror).unwrap()
    }

    fn text(mirrors: &[ImageMirror]) -> String {
        render(mirrors, true, now(), "kubectl transship")
    }

    fn failing(mirror: &mut Value, stalled: bool, images: usize) {
        let message = format!("{images} of 4 images failed: a.test/app:0: it may not");
        mirror["status"]["conditions"] =
            json!([condition_of("Ready", "False", "PushDenied", &message)]);
        if stalled {
            let stalled = condition_of("Stalled", "True", "PushDenied", &message);
            mirror["status"]["conditions"]
                .as_array_mut()
                .unwrap()
                .push(stalled);
        }
        mirror["status"]["failed"] = json!(images);
        mirror["status"]["images"] = (0..images)
            .map(|number| {
                json!({
                    "source": format!("a.test/app:{number}"),
                    "destinations": [{
                        "reference": format!("b.test/app:{number}"), "state": "Failed",
                        "reason": "PushDenied", "message": "it may\u{1b} not",
                    }],
                })
            })
            .collect();
    }

    #[test]
    fn what_is_in_place_is_one_line() {
        assert_eq!(
            text(&[mirror("base", |_| {})]),
            "NAMESPACE   NAME   READY   IMAGES   REASON      RUN   NEXT SCAN\n\
             shop        base   True    4/4      Succeeded   -     in 48m\n"
        );
        let of_one_namespace = render(&[mirror("base", |_| {})], false, now(), "");
        assert!(
            of_one_namespace.starts_with("NAME   READY"),
            "{of_one_namespace}"
        );
    }

    #[test]
    fn what_failed_is_told_with_the_first_images() {
        let text = text(&[
            mirror("base", |_| {}),
            mirror("tools", |mirror| failing(mirror, true, 4)),
        ]);
        let (_, below) = text.split_once("\n\n").unwrap();
        assert_eq!(
            below,
            "shop/tools has stalled until somebody mends it: PushDenied: 4 of 4 images failed: a.test/app:0: it may not\n  \
             a.test/app:0 to b.test/app:0: PushDenied: it may\u{fffd} not\n  \
             a.test/app:1 to b.test/app:1: PushDenied: it may\u{fffd} not\n  \
             a.test/app:2 to b.test/app:2: PushDenied: it may\u{fffd} not\n  \
             1 more: kubectl transship images tools --namespace shop --state failed\n"
        );
    }

    #[test]
    fn what_is_tried_again_is_told_from_what_waits_for_somebody() {
        let text = text(&[mirror("tools", |mirror| failing(mirror, false, 1))]);
        assert!(text.contains("shop/tools is not ready, and tries again: PushDenied"));
        assert!(!text.contains("more:"), "{text}");
    }

    #[test]
    fn a_run_is_told_with_its_age_and_what_keeps_it() {
        let text = text(&[mirror("base", |mirror| {
            mirror["status"]["run"] = json!({"job": "new", "startTime": "2026-01-01T11:55:00Z"});
            mirror["status"]["nextScanTime"] = Value::Null;
            mirror["status"]["conditions"] = json!([condition_of(
                "Ready",
                "Unknown",
                "Progressing",
                "copying 4 images; no node has room"
            )]);
        })]);
        assert!(text.contains("Progressing   5m    -\n"), "{text}");
        assert!(
            text.contains(
                "shop/base is not ready yet: Progressing: copying 4 images; no node has room"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_status_of_an_older_spec_is_not_shown_as_that_of_the_newest() {
        let text = text(&[mirror("base", |mirror| {
            mirror["metadata"]["generation"] = json!(3);
        })]);
        assert!(text.contains("base   Unknown   4/4      -"), "{text}");
        assert!(
            text.contains("has not acted upon its newest spec"),
            "{text}"
        );
        let fresh = mirror("base", |mirror| {
            mirror["status"] = json!({"observedGeneration": -1});
        });
        assert!(!is_observed(&fresh));
        let unseen = mirror("base", |mirror| {
            mirror["status"] = Value::Null;
            mirror["metadata"]["generation"] = Value::Null;
        });
        assert!(!is_observed(&unseen));
    }

    #[test]
    fn what_somebody_wanted_is_no_trouble() {
        let suspended = text(&[mirror("base", |mirror| {
            mirror["spec"]["suspend"] = json!(true);
            mirror["metadata"]["generation"] = json!(3);
        })]);
        assert!(
            suspended.ends_with("True    4/4      Succeeded   -     suspended\n"),
            "{suspended}"
        );
        let deleted = text(&[mirror("base", |mirror| {
            mirror["metadata"]["deletionTimestamp"] = json!("2026-01-01T11:00:00Z");
        })]);
        assert!(deleted.ends_with("being deleted\n"), "{deleted}");
    }
}
