//! Images that serve a file, run as pods.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

use super::cluster::{Cluster, Namespace};
use super::wait::eventually;

/// What an image of the plain registry that serves `answer.txt` answers in a pod.
pub(crate) async fn answer(cluster: &Cluster, namespace: &Namespace, image: &str) -> String {
    namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "running", "namespace": namespace.name},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": format!("{}/{image}", cluster.plain.host)}],
        },
    }));
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace.name);
    let client = reqwest::Client::builder().build().unwrap();
    eventually("the image answers", || async {
        let pod = pods.get("running").await.unwrap();
        let address = pod
            .status
            .as_ref()
            .and_then(|status| status.pod_ip.as_ref());
        let address = address.ok_or_else(|| format!("{:?}", pod.status))?;
        let url = format!("http://{address}:8080/answer.txt");
        let answer = client
            .get(url)
            .send()
            .await
            .map_err(|error| error.to_string())?;
        answer.text().await.map_err(|error| error.to_string())
    })
    .await
}
