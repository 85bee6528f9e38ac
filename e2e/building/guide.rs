//! The guide to builds, done as it says.

use std::fs;
use std::process::Command;

use super::workshop::Workshop;
use crate::harness::{answer, link_plugin};

const GUIDE: &str = include_str!("../../docs/guides/build.md");

#[tokio::test]
async fn every_command_of_the_guide_works() {
    let workshop = Workshop::open("building-guide").await;
    let (secure, namespace) = (&workshop.cluster.secure, &workshop.namespace.name);
    // The guide makes them itself.
    let mine = ["delete", "secret", "registry-ca"];
    workshop.namespace.kubectl(&mine);
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    fs::create_dir(home.join(".docker")).unwrap();
    fs::write(home.join(".docker/config.json"), secure.docker_config()).unwrap();
    fs::write(home.join("ca.crt"), secure.authority()).unwrap();
    link_plugin(home);
    let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap());
    let blocks = GUIDE.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    let mut count = 0;
    for block in blocks {
        let block = block
            .replace("registry.corp.example", &secure.host)
            .replace("team-a", namespace)
            // It is there.
            .replace("kubectl create namespace", "kubectl get namespace");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &block])
            .env("HOME", home)
            .env("PATH", &path)
            .current_dir(home)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}\n{said}");
        count += 1;
    }
    assert_eq!(count, 9);
    let built = format!("{namespace}/hello:main");
    workshop.cluster.plain.copy_from(secure, &built);
    let said = answer(&workshop.cluster, &workshop.namespace, &built).await;
    assert_eq!(said, "hello\nbuilt without a daemon\n");
}
