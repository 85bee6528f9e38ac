//! What a Dockerfile tries that is not its business: the credentials of the push, the token of a service account, the
//! neighbours, the node, and the result.

use rstest::rstest;
use serde_json::json;

use super::workshop::Workshop;
use crate::harness::Build;

/// What must be found nowhere.
const CANARY: &str = "canary-5d2e-push-password";

/// Each is a command that succeeds where something is open that should be closed.
const PROBES: [(&str, &str); 26] = [
    (
        "service-account-token",
        "test -e /var/run/secrets/kubernetes.io/serviceaccount/token",
    ),
    ("service-account-run", "test -e /run/secrets/kubernetes.io"),
    ("push-secret", "ls /run/transship/credentials"),
    ("push-certificates", "ls /run/transship/certificates"),
    ("plan", "ls /run/transship/plan"),
    ("environment", "env | grep -q CANARY"),
    (
        "environment-of-others",
        "cat /proc/[0-9]*/environ | grep -q CANARY",
    ),
    ("command-lines", "cat /proc/[0-9]*/cmdline | grep -q CANARY"),
    (
        "files",
        "timeout 5 grep -rqs CANARY /run /tmp /etc /root /home /var /transship /workspace /mnt /opt",
    ),
    (
        "roots-of-others",
        "timeout 5 grep -rqs CANARY /proc/1/root/run /proc/1/root/tmp /proc/1/root/transship",
    ),
    ("neighbours", "cat /proc/[0-9]*/comm | grep -qx transship"),
    (
        "publish",
        "cat /proc/[0-9]*/cmdline | grep -q build-publis[h]",
    ),
    ("context", "touch /workspace/context/forged"),
    (
        "hostname-of-kernel",
        "echo forged >/proc/sys/kernel/hostname",
    ),
    (
        "core-pattern",
        "echo '|/forged' >/proc/sys/kernel/core_pattern",
    ),
    ("sysrq", "echo h >/proc/sysrq-trigger"),
    (
        "cgroup",
        "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do test -e $d/cgroup.procs && mkdir $d/forged && rmdir $d/forged && exit 0; done; exit 1",
    ),
    (
        "cgroup-release",
        "for f in /sys/fs/cgroup/*/release_agent; do test -w $f && exit 0; done; exit 1",
    ),
    (
        "mount-of-disk",
        "mkdir -p /disk && for disk in /dev/vda /dev/sda /dev/nvme0n1; do mount $disk /disk && break; done",
    ),
    ("device", "mknod /memory c 1 1 && head -c 1 /memory"),
    ("kernel-memory", "timeout 3 head -c 1 /dev/mem"),
    ("kernel-log", "test -c /dev/kmsg && echo forged >/dev/kmsg"),
    ("modules", "insmod /etc/hosts"),
    ("clock", "date -s 2001-01-01; test $(date +%Y) = 2001"),
    ("metadata", "timeout 3 wget -q -O - http://169.254.169.254/"),
    (
        "kubelet",
        "timeout 3 wget -q -O - http://127.0.0.1:10255/pods",
    ),
];

/// All probes; the instruction fails when one of them succeeds.
fn dockerfile() -> String {
    // Who looks for it must not find itself.
    let canary = "canary-5d2e-push-pass[w]ord";
    let probes: String = PROBES
        .iter()
        .map(|(name, probe)| {
            let probe = probe.replace("CANARY", canary);
            format!("if ( {probe} ) >/dev/null 2>&1; then echo open: {name} >>/open; fi; ")
        })
        .collect::<Vec<_>>()
        .concat();
    format!(
        "ARG BASE\nFROM ${{BASE}}\nRUN : >/open; {probes} cat /open; test ! -s /open\nRUN echo as-written >/answer.txt\n"
    )
}

#[rstest]
#[case::buildkit("BuildKit", "UserNamespace")]
#[case::buildkit_rootless("BuildKit", "Rootless")]
#[case::buildah("Buildah", "UserNamespace")]
#[case::buildah_rootless("Buildah", "Rootless")]
#[case::kaniko("Kaniko", "UserNamespace")]
#[case::kaniko_rootless("Kaniko", "Rootless")]
#[case::img("Img", "Rootless")]
#[tokio::test]
async fn nothing_is_open_to_a_dockerfile(#[case] builder: &str, #[case] isolation: &str) {
    let workshop = Workshop::open("building-probes").await;
    let auths = json!({"auths": {"push.test": {"username": "push", "password": CANARY}}});
    let secret = workshop
        .namespace
        .docker_config("canary", &auths.to_string());
    workshop.namespace.apply(&secret);
    let mut spec = workshop.spec("app", &dockerfile());
    spec["builder"] = json!({"type": builder, "isolation": isolation});
    spec["output"]["secretRef"] = json!({"name": "canary"});
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let status = build
        .wait_until("the end of the build", |status| {
            let build = status.build.as_ref().ok_or("no build")?;
            build
                .completion_time
                .as_ref()
                .map(|_| ())
                .ok_or_else(|| "goes on".to_owned())
        })
        .await;
    assert_eq!(status.last_failure, None);
    assert!(status.image.is_some());
}
