//! `--existing`: tags that are at the destination already.

use serde_json::{Value, json};

use super::{run, stderr, stdout};
use crate::support::registry::Registry;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_a_success_and_is_said() {
    let registry = Registry::start().await;
    let wanted = registry.seed_image("app", Some("1"), &[b"wanted"]);
    let there = registry.seed_image("mirror/app", Some("1"), &[b"there"]);
    let from = format!("{}/app:1", registry.host());
    let to = format!("{}/mirror/app:1", registry.host());

    let kept = run(&["copy", "--existing", "keep", &from, &to]);
    assert_eq!(stdout(&kept), format!("{to}@{there}\n"));
    let said = stderr(&kept);
    assert!(said.contains(&format!("kept: {to} is {there}")), "{said}");
    assert!(said.contains("1 kept as they were"), "{said}");

    for options in [&["--json"][..], &["--json", "--dry-run"]] {
        let mut arguments = vec!["copy", "--existing", "keep", &from, &to];
        arguments.extend(options);
        let lines: Vec<Value> = stdout(&run(&arguments))
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let expected = json!({
            "source": from, "destination": to, "sourceDigest": wanted, "digest": there,
            "unchanged": true, "kept": true,
        });
        assert_eq!(lines[0], expected);
        assert_eq!(lines[1]["totals"]["kept"], json!(1));
    }
    assert_eq!(registry.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_there_fails_the_copy() {
    let registry = Registry::start().await;
    registry.seed_image("app", Some("1"), &[b"wanted"]);
    registry.seed_image("mirror/app", Some("1"), &[b"there"]);
    let from = format!("{}/app:1", registry.host());
    let to = format!("{}/mirror/app:1", registry.host());
    for options in [&[][..], &["--dry-run"]] {
        let mut arguments = vec!["copy", "--existing", "fail", &from, &to];
        arguments.extend(options);
        let failed = run(&arguments);
        assert_eq!(failed.status.code(), Some(10), "{failed:?}");
        assert!(stderr(&failed).contains("TagExists"), "{failed:?}");
    }
    assert_eq!(registry.writes(), 0);
}
