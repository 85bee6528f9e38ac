//! Properties of the types that are parsed from text.

use proptest::prelude::*;
use transship::oci::{Digest, Platform, Reference, RegistryHost, Repository, Tag};

/// Any text, mostly of the characters that references are made of.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-zA-Z0-9._:/@\\[\\]-]{0,60}",
        1 => "\\PC{0,40}",
        1 => any::<String>(),
    ]
}

fn host() -> impl Strategy<Value = String> {
    let name = "[a-z0-9]{1,8}(-[a-z0-9]{1,4})?(\\.[a-z0-9]{1,8}){0,2}\\.[a-z]{2,8}";
    let address = any::<std::net::IpAddr>().prop_map(|address| match address {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    });
    (
        prop_oneof![3 => name.boxed(), 1 => Just("localhost".to_owned()), 1 => address.boxed()],
        proptest::option::of(1..=u16::MAX),
    )
        .prop_map(|(host, port)| port.map_or(host.clone(), |port| format!("{host}:{port}")))
}

const REPOSITORY: &str = "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,6})?(/[a-z0-9]{1,6}){0,3}";
const TAG: &str = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
const DIGEST: &str = "sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}";

proptest! {
    #[test]
    fn a_reference_is_put_together_from_its_parts(
        host in host(),
        repository in REPOSITORY,
        tag in proptest::option::of(TAG),
        digest in proptest::option::of(DIGEST),
    ) {
        let suffix = |sign, part: &Option<String>| {
            part.as_ref().map_or(String::new(), |part| format!("{sign}{part}"))
        };
        let text = format!("{host}/{repository}{}{}", suffix(':', &tag), suffix('@', &digest));
        let reference: Reference = text.parse().unwrap();
        prop_assert_eq!(reference.registry(), &host.parse::<RegistryHost>().unwrap());
        prop_assert_eq!(reference.repository(), &repository.parse::<Repository>().unwrap());
        prop_assert_eq!(reference.digest().map(Digest::as_str), digest.as_deref());
        let expected = tag.as_deref().or(digest.is_none().then_some("latest"));
        prop_assert_eq!(reference.tag().map(Tag::as_str), expected);
    }

    #[test]
    fn a_reference_that_is_read_reads_the_same_again(text in text()) {
        if let Ok(reference) = text.parse::<Reference>() {
            let written = reference.to_string();
            prop_assert_eq!(written.parse::<Reference>().unwrap(), reference);
            prop_assert!(written.is_ascii() && !written.contains(char::is_whitespace));
            prop_assert!(!written.contains("..") && !written.contains("//"));
        }
    }

    #[test]
    fn content_in_pieces_has_the_digest_of_the_whole(
        content in proptest::collection::vec(any::<u8>(), 0..300),
        cut in 0..300_usize,
    ) {
        let whole = Digest::sha256(&content);
        let (first, second) = content.split_at(cut.min(content.len()));
        let mut hasher = whole.hasher();
        hasher.update(first);
        hasher.update(second);
        prop_assert_eq!(hasher.finish(), whole.clone());
        prop_assert!(whole.matches(&content));
    }

    #[test]
    fn a_platform_is_itself_under_all_its_names(
        text in "(linux|Windows|macos|freebsd)(\\(10\\.0\\.[0-9]{1,5}\\))?/(amd64|x86_64|X86-64|arm|armhf|armel|arm64|aarch64|i386|386|riscv64)(/v?[0-9])?"
    ) {
        let platform: Platform = text.parse().unwrap();
        prop_assert_eq!(&platform.normalized(), &platform);
        prop_assert_eq!(&platform.to_string().parse::<Platform>().unwrap(), &platform);
        prop_assert!(platform.matches(&platform));
    }

    #[test]
    fn a_platform_that_is_read_reads_the_same_again(text in text()) {
        if let Ok(platform) = text.parse::<Platform>() {
            prop_assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
        }
    }

    #[test]
    fn asking_for_a_platform_means_the_same_from_both_sides(
        one in "linux/(arm|arm64|amd64)(/v[6-9])?",
        other in "linux/(arm|arm64|amd64|aarch64)(/v?[6-9])?",
    ) {
        let (one, other): (Platform, Platform) = (one.parse().unwrap(), other.parse().unwrap());
        prop_assert_eq!(one.matches(&other), other.matches(&one));
        prop_assert_eq!(one.matches(&other), one == other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn only_the_grammar_makes_a_digest(text in prop_oneof![text(), "(sha256|sha512|SHA256):[0-9a-fA-F]{60,66}"]) {
        let (algorithm, encoded) = text.split_once(':').unwrap_or_default();
        let length = match algorithm { "sha256" => 64, "sha512" => 128, _ => 0 };
        let valid = length > 0
            && encoded.len() == length
            && encoded.chars().all(|character| "0123456789abcdef".contains(character));
        prop_assert_eq!(text.parse::<Digest>().is_ok(), valid);
    }
}
