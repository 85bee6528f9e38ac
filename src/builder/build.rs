//! One build for one platform, as a builder is told of it.

use crate::oci::{Platform, Reference, RegistryHost};

/// What to build, and with what. Paths are those in the container.
#[derive(Clone, Debug)]
pub struct Build {
    /// Absolute path of the directory that holds the context.
    pub context: String,
    /// Path of the Dockerfile, relative to the context.
    pub dockerfile: String,
    /// The stage to build; the last one when absent.
    pub target: Option<String>,
    /// Values of `ARG` instructions.
    pub arguments: Vec<BuildArgument>,
    /// What `RUN --mount=type=secret` finds.
    pub secrets: Vec<BuildSecret>,
    /// What the image runs on.
    pub platform: Platform,
    /// Where steps are kept between builds. The tag counts for BuildKit and img only.
    pub cache: Option<Reference>,
    /// Registries of base images and of the cache that may be spoken to without TLS, or with a certificate that
    /// nobody can verify.
    pub insecure_registries: Vec<RegistryHost>,
    /// File with further certificate authorities, in PEM.
    pub authorities: Option<String>,
    /// Directory with a `config.json` of Docker's: what is pulled, and the cache, with which credentials. Never
    /// those of the output.
    pub credentials_directory: Option<String>,
    /// A file with the seconds since 1970 that files and image are dated; they are dated now when it is absent, which
    /// it may be. Kaniko and img cannot, and date them now.
    pub source_date_epoch: Option<String>,
    /// A file that says where base images are: in each line the name of an image fully written out, its name
    /// as BuildKit writes it, and where it is. Kaniko and img cannot be told.
    pub base_images: Option<String>,
    /// How the builder is kept away from the node.
    pub isolation: Isolation,
    /// The filter of system calls for builders that mount.
    pub seccomp: SeccompFilter,
}

/// The value of an `ARG` instruction.
#[derive(Clone, Debug)]
pub struct BuildArgument {
    /// Its name.
    pub name: String,
    /// Its value: any text.
    pub value: String,
}

/// A file for `RUN --mount=type=secret`.
#[derive(Clone, Debug)]
pub struct BuildSecret {
    /// The id that the Dockerfile names.
    pub id: String,
    /// The file.
    pub path: String,
}

/// How a builder is kept away from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// The pod has a user namespace: who is root in it is nobody on the node. Nodes must support `hostUsers: false`.
    UserNamespace,
    /// No user namespace of the pod. BuildKit, Buildah and img run as user 1000 and make their own; Kaniko is root
    /// with few capabilities.
    Rootless,
}

impl Isolation {
    /// The name that scripts know it by.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::UserNamespace => "UserNamespace",
            Self::Rootless => "Rootless",
        }
    }
}

/// The filter of system calls for builders that mount, which that of the container runtimes forbids to all who
/// are not root on the node. Kaniko does not mount, and always has the runtime's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeccompFilter {
    /// What the kubelet gives to containers that ask for nothing: no filter, unless its `seccompDefault` is on.
    Unset,
    /// A profile that is on every node: its path below the kubelet's `seccomp` directory.
    Localhost(String),
    /// No filter. Not allowed by Pod Security `baseline`.
    Unconfined,
}

/// Why a builder cannot do a build, whatever the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not know secrets.
    #[error("this builder has no secrets for RUN --mount=type=secret")]
    SecretsUnsupported,
    /// It speaks nothing but verified TLS.
    #[error("this builder cannot pull from a registry without verified TLS")]
    InsecureRegistryUnsupported,
    /// It takes base images from where the Dockerfile says.
    #[error(
        "this builder takes base images from nowhere but where the Dockerfile says; use BuildKit or Buildah"
    )]
    RedirectionUnsupported,
    /// It makes a step again that it has found in a cache.
    #[error("this builder makes no use of a cache; use BuildKit or Kaniko")]
    CacheUnsupported,
    /// A build argument has a name that cannot be told from its value.
    #[error("the name of a build argument is empty or has a `=`")]
    BuildArgumentInvalid,
    /// A secret has an id that not every builder could be told.
    #[error("the id of a build secret has other characters than letters, digits, `.`, `_` and `-`")]
    SecretIdInvalid,
}

impl Refusal {
    /// The name that conditions and events give it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::SecretsUnsupported => "SecretsUnsupported",
            Self::InsecureRegistryUnsupported => "InsecureRegistryUnsupported",
            Self::RedirectionUnsupported => "RedirectionUnsupported",
            Self::CacheUnsupported => "CacheUnsupported",
            Self::BuildArgumentInvalid => "BuildArgumentInvalid",
            Self::SecretIdInvalid => "SecretIdInvalid",
        }
    }
}

impl Build {
    /// A build of a Dockerfile in a context, with nothing but what each has.
    #[must_use]
    pub fn new(context: &str, dockerfile: &str, platform: Platform, isolation: Isolation) -> Self {
        Self {
            context: context.to_owned(),
            dockerfile: dockerfile.to_owned(),
            target: None,
            arguments: Vec::new(),
            secrets: Vec::new(),
            platform,
            cache: None,
            insecure_registries: Vec::new(),
            authorities: None,
            credentials_directory: None,
            source_date_epoch: None,
            base_images: None,
            isolation,
            seccomp: SeccompFilter::Unset,
        }
    }

    /// Refuses what would mean something else on a command line.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let ambiguous =
            |argument: &BuildArgument| argument.name.is_empty() || argument.name.contains('=');
        if self.arguments.iter().any(ambiguous) {
            return Err(Refusal::BuildArgumentInvalid);
        }
        // They stand between commas, which Buildah has no way to quote.
        let plain =
            |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        let odd = |secret: &BuildSecret| secret.id.is_empty() || !secret.id.chars().all(plain);
        if self.secrets.iter().any(odd) {
            return Err(Refusal::SecretIdInvalid);
        }
        Ok(())
    }

    /// The Dockerfile's path in the container.
    pub(super) fn dockerfile_path(&self) -> String {
        format!("{}/{}", self.context, self.dockerfile)
    }

    /// The files that the stage before may have left, as scripts are told of them: nothing means none.
    pub(super) fn files(&self) -> [(&'static str, String); 2] {
        [
            ("SOURCE_DATE_EPOCH_FILE", &self.source_date_epoch),
            ("BASE_IMAGES_FILE", &self.base_images),
        ]
        .map(|(name, file)| (name, file.clone().unwrap_or_default()))
    }

    /// The repository of the cache, for builders that choose the tags themselves.
    pub(super) fn cache_repository(&self) -> Option<String> {
        self.cache.as_ref().map(Reference::name)
    }
}
