//! What a registry does by the distribution specification, request by request: the same suite for the
//! registry of these tests and for real ones. Where they differ, the test says which does what.

mod blobs;
mod conformance;
mod manifests;

use reqwest::header::LOCATION;
use reqwest::{RequestBuilder, Response, Url};
use serde_json::{Value, json};
use transship::oci::Digest;

use crate::support::any_registry::{AnyRegistry, Kind};
use crate::support::install_tls_provider;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry, and a client that does what it is told and nothing else.
struct Server {
    registry: AnyRegistry,
    http: reqwest::Client,
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

impl Server {
    async fn start(kind: Kind) -> Self {
        install_tls_provider();
        Self {
            registry: AnyRegistry::start(kind).await,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn url(&self, rest: &str) -> Url {
        format!("http://{}/v2/{rest}", self.registry.host())
            .parse()
            .unwrap()
    }

    /// Opens an upload session and gives its address.
    async fn open(&self, repository: &str) -> Url {
        let url = self.url(&format!("{repository}/blobs/uploads/"));
        let opened = send(self.http.post(url)).await;
        assert_eq!(opened.status(), 202);
        location(&opened)
    }

    /// Brings a blob in one piece.
    async fn push_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        let url = completing(self.open(repository).await, &digest);
        let put = self.http.put(url).body(content.to_vec());
        let put = put.header("content-type", "application/octet-stream");
        assert_eq!(send(put).await.status(), 201);
        digest
    }

    async fn put_manifest(&self, name: &str, document: &Value) -> Response {
        let put = self.http.put(self.url(name)).header("content-type", IMAGE);
        send(put.body(document.to_string())).await
    }

    /// Pushes an image under a tag of `app` and gives its digest.
    async fn push_image(&self, tag: &str) -> Digest {
        let document = self.image(tag).await;
        let put = self
            .put_manifest(&format!("app/manifests/{tag}"), &document)
            .await;
        assert_eq!(put.status(), 201);
        Digest::sha256(document.to_string().as_bytes())
    }

    /// A manifest whose parts are in `app`.
    async fn image(&self, layer: &str) -> Value {
        let config = self.push_blob("app", b"{}").await;
        let digest = self.push_blob("app", layer.as_bytes()).await;
        json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": layer.len(),
            }],
        })
    }
}

/// Where an answer points to.
fn location(response: &Response) -> Url {
    let location = response.headers()[LOCATION].to_str().unwrap();
    response.url().join(location).unwrap()
}

/// The address that ends an upload.
fn completing(mut session: Url, digest: &Digest) -> Url {
    session
        .query_pairs_mut()
        .append_pair("digest", digest.as_str());
    session
}

async fn read_json(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// The codes of the errors that an answer lists.
async fn codes(response: Response) -> Vec<String> {
    let body = read_json(response).await;
    let errors = body.get("errors").unwrap().as_array().unwrap().iter();
    errors
        .map(|error| error.get("code").unwrap().as_str().unwrap().to_owned())
        .collect()
}
