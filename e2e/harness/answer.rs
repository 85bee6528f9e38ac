//! Images that serve a file, run as pods.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

use super::cluster::{Cluster, Namespace};
use super::wait::eventually;

/// An image that serves `answer.txt` with the argument `VERSION` below it. Steps as root and as another user, files that
/// change their owner, and a stage that is left behind.
pub(crate) const ANSWERING_DOCKERFILE: &str = r#"ARG BASE
FROM ${BASE} AS build
ARG VERSION
COPY answer.txt /made/answer.txt
RUN echo "${VERSION}" >>/made/answer.txt && chown -R 33:33 /made && chmod 4755 /made/answer.txt

FROM ${BASE} AS runtime
COPY --from=build --chown=33:33 /made /srv
RUN touch /srv/by-root && chown 33 /srv/by-root
USER 33
RUN test "$(id -u)" = 33 && echo as-33 >/srv/by-33
CMD ["httpd", "-f", "-p", "8080", "-h", "/srv"]

FROM ${BASE}
RUN false
"#;

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
