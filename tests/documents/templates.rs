//! The text of documents, so that tests can break it in ways that no serializer would.

use bytes::Bytes;
use transship::oci::{Manifest, MediaType};

/// A digest that stands for any content.
pub(super) const DIGEST: &str =
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// Another one.
pub(super) const OTHER_DIGEST: &str =
    "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
/// The digest of no bytes.
pub(super) const DIGEST_OF_NOTHING: &str =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One of the three kinds of document, in the way that image-spec writes it today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Index,
    DockerImage,
}

/// The name of a member that holds a descriptor, and the document around any descriptor there.
pub(super) type Place = (&'static str, Box<dyn Fn(&str) -> String>);

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Image, Self::Index, Self::DockerImage];

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Image => MediaType::OCI_MANIFEST,
            Self::Index => MediaType::OCI_INDEX,
            Self::DockerImage => MediaType::DOCKER_MANIFEST,
        }
    }

    /// The members of a document that has all of its kind: names and JSON texts.
    pub(super) fn members(self) -> Vec<(&'static str, String)> {
        let content = match self {
            Self::Image => vec![
                ("config", config()),
                ("layers", format!("[{}]", layer())),
                ("artifactType", r#""application/vnd.example""#.to_owned()),
            ],
            Self::Index => vec![("manifests", format!("[{}]", entry()))],
            Self::DockerImage => vec![("config", config()), ("layers", format!("[{}]", layer()))],
        };
        let mut members = vec![
            ("schemaVersion", "2".to_owned()),
            ("mediaType", format!("\"{}\"", self.media_type())),
        ];
        members.extend(content);
        members.push(("subject", descriptor(MediaType::OCI_MANIFEST)));
        members.push(("annotations", r#"{"org.example":"text"}"#.to_owned()));
        members
    }

    pub(super) fn document(self) -> String {
        object(&self.members())
    }

    /// The document with one member replaced, or added at the end.
    pub(super) fn with(self, name: &str, text: &str) -> String {
        let mut members: Vec<_> = self
            .members()
            .into_iter()
            .filter(|(other, _)| *other != name)
            .collect();
        members.push((name, text.to_owned()));
        object(&members)
    }

    /// The document without one member.
    pub(super) fn without(self, name: &str) -> String {
        let mut members = self.members();
        members.retain(|(other, _)| *other != name);
        object(&members)
    }

    /// The members that hold a descriptor.
    pub(super) fn descriptors(self) -> Vec<Place> {
        let list = move |name: &'static str| -> Place {
            let around = move |descriptor: &str| self.with(name, &format!("[{descriptor}]"));
            (name, Box::new(around))
        };
        let single = move |name: &'static str| -> Place {
            (
                name,
                Box::new(move |descriptor| self.with(name, descriptor)),
            )
        };
        match self {
            Self::Index => vec![list("manifests"), single("subject")],
            Self::Image | Self::DockerImage => {
                vec![list("layers"), single("config"), single("subject")]
            }
        }
    }
}

/// The members of a descriptor that has all: names and JSON texts.
pub(super) fn descriptor_members(media_type: &str) -> Vec<(&'static str, String)> {
    vec![
        ("mediaType", format!("\"{media_type}\"")),
        ("digest", format!("\"{DIGEST}\"")),
        ("size", "3".to_owned()),
        (
            "platform",
            r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#.to_owned(),
        ),
        ("annotations", r#"{"org.example":"text"}"#.to_owned()),
        ("artifactType", r#""application/vnd.example""#.to_owned()),
        ("urls", r#"["https://example.test/blob"]"#.to_owned()),
        ("data", r#""YWJj""#.to_owned()),
    ]
}

pub(super) fn descriptor(media_type: &str) -> String {
    object(&descriptor_members(media_type))
}

/// A descriptor with one member replaced, or added at the end.
pub(super) fn descriptor_with(name: &str, text: &str) -> String {
    let mut members: Vec<_> = descriptor_members("application/octet-stream")
        .into_iter()
        .filter(|(other, _)| *other != name && *other != "data")
        .collect();
    members.push((name, text.to_owned()));
    object(&members)
}

/// A descriptor without one member.
pub(super) fn descriptor_without(name: &str) -> String {
    let mut members = descriptor_members("application/octet-stream");
    members.retain(|(other, _)| *other != name);
    object(&members)
}

pub(super) fn config() -> String {
    descriptor(MediaType::OCI_CONFIG)
}

pub(super) fn layer() -> String {
    descriptor(MediaType::OCI_LAYER_GZIP)
}

pub(super) fn entry() -> String {
    descriptor(MediaType::OCI_MANIFEST)
}

pub(super) fn object<N: AsRef<str>>(members: &[(N, String)]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, text)| format!("\"{}\":{text}", name.as_ref()))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// The same name with its first letter written as an escape.
pub(super) fn escape(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    let code = first.chars().next().map_or(0, u32::from);
    format!("\\u{code:04x}{rest}")
}

pub(super) fn manifest(media_type: &str, document: impl Into<Bytes>) -> Manifest {
    Manifest::new(document.into(), MediaType::new(media_type))
}
