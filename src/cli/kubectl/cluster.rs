//! The API server of the kubeconfig: who is asked, and requests that end.
//!
//! It knows mirrors as objects, not what is in them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher;
use kube::{Client, Config, ResourceExt};
use serde_json::Value;

use super::arguments;
use super::error::Error;
use crate::api::{ImageBuild, ImageMirror, ImageStatus, is_report_of, reported_images};
use crate::cli::output::harmless;

/// The field manager of everything that is changed here. The operator and Git have others.
pub(super) const FIELD_MANAGER: &str = "kubectl-transship";
/// Objects of one answer: a mirror has up to 256 KiB.
const PAGE_SIZE: u32 = 100;
/// Seconds after which a watch is begun anew, so that a connection that is dead without a sign is noticed.
const WATCH_SECONDS: u32 = 60;

/// Which cluster, as kubectl has it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ConnectionArguments {
    /// The kubeconfig, in place of KUBECONFIG and ~/.kube/config
    #[arg(long, value_name = "FILE", global = true)]
    kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig, in place of its current one
    #[arg(long, value_name = "NAME", global = true)]
    context: Option<String>,

    /// The namespace, in place of that of the context
    #[arg(short, long, value_name = "NAME", value_parser = arguments::name, global = true)]
    namespace: Option<String>,

    /// How long one answer of the API server may take
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = arguments::duration,
        global = true
    )]
    request_timeout: Duration,
}

/// A cluster, and the namespace that is meant there.
pub(super) struct Cluster {
    client: Client,
    pub(super) namespace: String,
    request_timeout: Duration,
}

impl ConnectionArguments {
    /// Reads the kubeconfig and gets credentials; asks the API server nothing yet.
    pub(super) async fn open(&self) -> Result<Cluster, Error> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let kubeconfig =
                    Kubeconfig::read_from(path).map_err(|error| Error::of_config(&error))?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(|error| Error::of_config(&error))?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options)
                .await
                .map_err(|error| Error::of_config(&error))?,
            (None, None) => Config::infer()
                .await
                .map_err(|error| Error::of_config(&error))?,
        };
        config.connect_timeout = Some(self.request_timeout);
        // What is tried again, and how often, is decided here.
        config.default_retry = false;
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        Ok(Cluster {
            client: Client::try_from(config).map_err(|error| Error::of_request(&error, ""))?,
            namespace,
            request_timeout: self.request_timeout,
        })
    }
}

impl Cluster {
    /// How a mirror of the namespace is called when one talks about it.
    pub(super) fn full_name(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    /// One mirror as it is stored.
    pub(super) async fn get(&self, name: &str) -> Result<DynamicObject, Error> {
        let mirrors = self.mirrors();
        self.request(name, mirrors.get(name)).await
    }

    /// All mirrors of the namespace, or of all namespaces.
    pub(super) async fn list(&self, everywhere: bool) -> Result<Vec<DynamicObject>, Error> {
        let mirrors = if everywhere {
            Api::all_with(self.client.clone(), &resource())
        } else {
            self.mirrors()
        };
        let mut found = Vec::new();
        let mut parameters = ListParams::default().limit(PAGE_SIZE);
        loop {
            let page = self.request("", mirrors.list(&parameters)).await?;
            found.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    /// Merges `patch` into a mirror; the mirror as it is then.
    pub(super) async fn patch(&self, name: &str, patch: &Value) -> Result<DynamicObject, Error> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let mirrors = self.mirrors();
        let patch = Patch::Merge(patch);
        self.request(name, mirrors.patch(name, &parameters, &patch))
            .await
    }

    /// A mirror now and after every change; [`None`] while there is none. After an error the stream goes
    /// on.
    pub(super) fn watch(
        &self,
        name: &str,
    ) -> impl Stream<Item = watcher::Result<Option<DynamicObject>>> + use<> {
        let config = watcher::Config::default()
            .fields(&format!("metadata.name={name}"))
            .timeout(WATCH_SECONDS);
        let mut is_there = false;
        watcher::watcher(self.mirrors(), config).filter_map(move |event| {
            let seen = match event {
                Ok(watcher::Event::Init) => {
                    is_there = false;
                    None
                }
                Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                    is_there = true;
                    Some(Ok(Some(object)))
                }
                Ok(watcher::Event::InitDone) => (!is_there).then_some(Ok(None)),
                Ok(watcher::Event::Delete(_)) => Some(Ok(None)),
                Err(error) => Some(Err(error)),
            };
            std::future::ready(seen)
        })
    }

    /// All images of a mirror, which are more than its status lists; [`None`] when some are not remembered.
    pub(super) async fn reported_images(
        &self,
        mirror: &ImageMirror,
    ) -> Result<Option<Vec<ImageStatus>>, Error> {
        let reports: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut images = Vec::new();
        let status = mirror.status.iter();
        for name in status.flat_map(|status| &status.image_reports) {
            let report = self.request(name, reports.get_opt(name)).await?;
            let report = report.filter(|report| is_report_of(report, mirror));
            let Some(page) = report.as_ref().and_then(reported_images) else {
                return Ok(None);
            };
            images.extend(page);
        }
        Ok((!images.is_empty()).then_some(images))
    }

    /// The builds of the namespace.
    pub(super) fn builds(&self) -> Api<ImageBuild> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The pods of the namespace.
    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn mirrors(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource())
    }

    /// Awaits a request about the object `name`, but not for ever.
    pub(super) async fn request<T>(
        &self,
        name: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.request_timeout, call).await {
            Ok(answer) => answer.map_err(|error| Error::of_request(&error, &self.full_name(name))),
            Err(_elapsed) => Err(Error::Timeout(self.request_timeout)),
        }
    }
}

/// The mirror that an object is. What this version does not know in it is left out.
pub(super) fn read(object: DynamicObject) -> Result<ImageMirror, Error> {
    let name = full_name(&object);
    serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .map_err(|error| Error::Unreadable {
            name,
            cause: harmless(&error.to_string()),
        })
}

/// How an object is called when one talks about it.
pub(super) fn full_name(object: &impl ResourceExt) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}

fn resource() -> ApiResource {
    ApiResource::erase::<ImageMirror>(&())
}
