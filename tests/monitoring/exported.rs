//! What a running operator exports: the real program, whose API server takes its time.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::install_tls_provider;

/// The labels of one series, with its name as `__name__`.
pub(super) type Series = BTreeMap<String, String>;

/// An operator; dropping it ends it.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        assert!(ended.is_ok(), "{ended:?}");
    }
}

/// Every series of an operator that has just started.
pub(super) async fn exported() -> Vec<Series> {
    series(&exported_text().await)
}

/// All that it exports, as Prometheus reads it.
pub(super) async fn exported_text() -> String {
    install_tls_provider();
    // It takes connections and never answers, so that the operator waits.
    let api_server = TcpListener::bind("127.0.0.1:0").unwrap();
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let server = format!("http://{}", api_server.local_addr().unwrap());
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        // Free now; if another takes it before the operator does, the next one is tried.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let child = Command::new(assert_cmd::cargo::cargo_bin("transship"))
            .args(["controller", "--worker-image=registry.test/transship:1"])
            .args([
                "--lease-namespace=test",
                "--identity=test",
                "--metrics-address",
                &address,
            ])
            .env_clear()
            .env("KUBECONFIG", kubeconfig.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut operator = Operator(child);
        while operator.0.try_wait().unwrap().is_none() {
            if let Ok(answer) = http.get(format!("http://{address}/metrics")).send().await {
                return answer.text().await.unwrap();
            }
            assert!(Instant::now() < deadline, "the operator serves no metrics");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(Instant::now() < deadline, "the operator does not stay");
    }
}

/// The series of a text in the format of Prometheus whose label values need no escapes.
fn series(text: &str) -> Vec<Series> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, _value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split(',');
            let mut series: Series = labels
                .filter_map(|label| label.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
                .collect();
            series.insert("__name__".to_owned(), name.to_owned());
            series
        })
        .collect()
}
