//! How the big registries differ from the specification, as far as a client notices.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Response};

use super::answer::error;
use super::log::Recorded;
use super::route::{Endpoint, Route};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest";
const OCI_MANIFEST: &str = "application/vnd.oci.image.";

/// A registry to behave like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// No referrers API; locations are absolute and have a state in their query; reading a manifest
    /// costs quota and looking it up does not.
    DockerHub,
    /// No referrers API; chunks of at most 4 MiB.
    Ghcr,
    /// Repositories exist before something is written; nothing is mounted; a list of more than 1000
    /// tags is refused; chunks have a smallest size and are acknowledged without progress.
    Ecr,
    /// No chunks at all; nothing is mounted.
    Gar,
    /// Absolute locations; bodies of at most 20 MB; tags in pages of 100.
    Acr,
    /// Mounting needs `from`; unknown types of manifests are refused; no referrers API.
    Quay,
    /// Tags in pages of 100.
    Harbor,
    /// What is absent is forbidden; tags cannot be deleted; digests are not named in answers.
    Artifactory,
}

impl Dialect {
    pub(crate) const ALL: [Self; 8] = [
        Self::DockerHub,
        Self::Ghcr,
        Self::Ecr,
        Self::Gar,
        Self::Acr,
        Self::Quay,
        Self::Harbor,
        Self::Artifactory,
    ];

    pub(crate) fn has_referrers(self) -> bool {
        !matches!(self, Self::DockerHub | Self::Ghcr | Self::Quay)
    }

    pub(crate) fn mounts(self) -> bool {
        !matches!(self, Self::Ecr | Self::Gar)
    }

    /// Most tags of one page.
    fn page(self) -> Option<usize> {
        matches!(self, Self::Acr | Self::Harbor).then_some(100)
    }

    /// What this registry refuses of what the specification allows; `exists` says whether the
    /// repository has been created.
    pub(super) fn refuse(
        self,
        route: &Route<'_>,
        request: &Recorded,
        body_bytes: usize,
        exists: bool,
    ) -> Option<Response<Body>> {
        let patch = request.method == Method::PATCH;
        let ranged = request.headers.contains_key("content-range");
        match (self, route.endpoint) {
            (dialect, Endpoint::Referrers) if !dialect.has_referrers() => {
                Some(error(404, "NOT_FOUND"))
            }
            (Self::Ghcr, Endpoint::Session) if patch && ranged && body_bytes > 4 << 20 => {
                Some(error(416, "SIZE_INVALID"))
            }
            (Self::Gar, Endpoint::Session) if patch => Some(error(405, "UNSUPPORTED")),
            (Self::Acr, Endpoint::Session | Endpoint::Uploads) if body_bytes > 20_000_000 => {
                Some(error(413, "SIZE_INVALID"))
            }
            (Self::Ecr, Endpoint::Uploads | Endpoint::Manifest)
                if matches!(request.method, Method::POST | Method::PUT) && !exists =>
            {
                Some(error(404, "NAME_UNKNOWN"))
            }
            (Self::Ecr, Endpoint::Tags) if asked_tags(request) > 1000 => {
                Some(error(400, "UNSUPPORTED"))
            }
            (Self::Quay, Endpoint::Uploads)
                if request.query_value("mount").is_some()
                    && request.query_value("from").is_none() =>
            {
                Some(error(400, "BLOB_UPLOAD_INVALID"))
            }
            (Self::Quay, Endpoint::Manifest) if request.method == Method::PUT => {
                let media_type = request.header("content-type").unwrap_or_default();
                let known = [DOCKER_MANIFEST, OCI_MANIFEST];
                let known = known.iter().any(|known| media_type.starts_with(known));
                (!known).then(|| error(400, "MANIFEST_INVALID"))
            }
            (Self::Artifactory, Endpoint::Manifest)
                if request.method == Method::DELETE && !route.item.contains(':') =>
            {
                Some(error(405, "UNSUPPORTED"))
            }
            _ => None,
        }
    }

    /// The query that this registry takes a query for.
    pub(super) fn understand(self, route: &Route<'_>, query: &str) -> String {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let mut understood = url::form_urlencoded::Serializer::new(String::new());
        let mut page = self.page().filter(|_| route.endpoint == Endpoint::Tags);
        for (name, value) in pairs {
            let mounts = route.endpoint == Endpoint::Uploads && matches!(&*name, "mount" | "from");
            if mounts && !self.mounts() {
                continue;
            }
            if let ("n", Some(most)) = (&*name, page) {
                page = Some(value.parse().map_or(most, |count: usize| count.min(most)));
                continue;
            }
            understood.append_pair(&name, &value);
        }
        if let Some(page) = page {
            understood.append_pair("n", &page.to_string());
        }
        understood.finish()
    }

    /// Makes an answer that the specification allows one of this registry. `reads` is how many
    /// manifests were read so far, `origin` where the registry is.
    pub(super) fn speak(
        self,
        route: &Route<'_>,
        request: &Recorded,
        response: &mut Response<Body>,
        origin: &str,
        reads: usize,
    ) {
        let upload = matches!(route.endpoint, Endpoint::Uploads | Endpoint::Session);
        let opened = route.endpoint == Endpoint::Uploads && response.status() == 202;
        let headers = response.headers_mut();
        let mut set = |name, value: String| {
            let value = HeaderValue::try_from(value).unwrap();
            headers.insert(HeaderName::from_static(name), value);
        };
        match self {
            Self::DockerHub if route.endpoint == Endpoint::Manifest => {
                set("ratelimit-limit", "100;w=21600".to_owned());
                let left = 100_usize.saturating_sub(reads);
                set("ratelimit-remaining", format!("{left};w=21600"));
            }
            Self::Ecr if opened => set("oci-chunk-min-length", "5242880".to_owned()),
            Self::Ecr if request.method == Method::PATCH => set("range", "0-0".to_owned()),
            Self::Artifactory if !upload => {
                headers.remove("docker-content-digest");
            }
            _ => {}
        }
        if !self.has_referrers() {
            response.headers_mut().remove("oci-subject");
        }
        if upload && matches!(self, Self::DockerHub | Self::Acr) {
            complete_location(response, origin, opened);
        }
        if self == Self::Artifactory && response.status() == 404 && !upload {
            *response = error(403, "DENIED");
        }
    }
}

/// Makes a relative `Location` absolute, and gives that of a session a state to carry along.
fn complete_location(response: &mut Response<Body>, origin: &str, opened: bool) {
    let Some(location) = response.headers().get("location") else {
        return;
    };
    let mut location = format!("{origin}{}", location.to_str().unwrap());
    if opened {
        location.push_str("?_state=a%2Fb%3D");
    }
    let location = HeaderValue::try_from(location).unwrap();
    response.headers_mut().insert("location", location);
}

fn asked_tags(request: &Recorded) -> usize {
    let count = request.query_value("n");
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}
