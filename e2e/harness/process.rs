//! The processes in the pods, as the machine sees them: to kill one, and to measure one.

use std::path::PathBuf;

use super::tool::run;

/// The process of a pod that runs `transship SUBCOMMAND`.
pub(crate) fn find_process(pod_uid: &str, subcommand: &str) -> Option<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|process| {
            let file = |name: &str| {
                std::fs::read_to_string(directory(*process).join(name)).unwrap_or_default()
            };
            file("cgroup").contains(pod_uid)
                && file("cmdline").starts_with(&format!("/usr/bin/transship\0{subcommand}\0"))
        })
}

/// Ends a process without a chance to clean up.
pub(crate) fn kill(process: u32) {
    run(&["kill", "-KILL", &process.to_string()]);
}

/// The most memory that a process has had resident; [`None`] once it has ended.
pub(crate) fn peak_resident_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(directory(process).join("status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn directory(process: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{process}"))
}
