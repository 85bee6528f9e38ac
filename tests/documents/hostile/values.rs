//! Members with values that the specification excludes, and members that are not there.

use transship::oci::MediaType;

use super::super::templates::{
    DIGEST, DIGEST_OF_NOTHING, Kind, OTHER_DIGEST, descriptor_with, descriptor_without,
};
use super::Corpus;

pub(super) fn sizes(corpus: &mut Corpus) {
    for kind in Kind::ALL {
        for (place, around) in kind.descriptors() {
            for size in [
                "-1",
                "-0",
                "1.0",
                "1e3",
                "0.5",
                "9223372036854775808",
                "18446744073709551616",
                "1e400",
                "\"3\"",
                "null",
                "true",
                "[3]",
            ] {
                let reason = if size == "1e400" { "Syntax" } else { "Value" };
                let document = around(&descriptor_with("size", size));
                corpus.add(kind, &format!("{place} of size {size}"), document, reason);
            }
            for size in ["03", "+3", "0x3", "3_000", ".5", "NaN", "Infinity"] {
                let document = around(&descriptor_with("size", size));
                corpus.add(kind, &format!("{place} of size {size}"), document, "Syntax");
            }
            let nothing = around(&descriptor_with("size", "0"));
            corpus.add(kind, &format!("{place} of size 0"), nothing, "FalseSize");
            let something = around(&descriptor_with(
                "digest",
                &format!("\"{DIGEST_OF_NOTHING}\""),
            ));
            corpus.add(kind, &format!("{place} of nothing"), something, "FalseSize");
            // 2^31 and 2^53 bytes are possible for a layer, but not for a manifest.
            for size in ["4194305", "2147483648", "9007199254740992"] {
                let document = around(&format!(
                    r#"{{"mediaType":"{}","digest":"{DIGEST}","size":{size}}}"#,
                    MediaType::OCI_MANIFEST
                ));
                corpus.add(
                    kind,
                    &format!("manifest as {place} of {size}"),
                    document,
                    "TooLarge",
                );
            }
        }
    }
    let two_sizes = |digest: &str| {
        let one = |size| format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":{size}}}"#);
        format!("[{},{},{}]", one(1), one(1), one(2))
    };
    let layers = Kind::Image.with("layers", &two_sizes(OTHER_DIGEST));
    corpus.add(Kind::Image, "two sizes of a layer", layers, "Ambiguous");
    let manifests = Kind::Index.with("manifests", &two_sizes(OTHER_DIGEST));
    corpus.add(
        Kind::Index,
        "two sizes of a manifest",
        manifests,
        "Ambiguous",
    );
    let config = Kind::Image.with(
        "config",
        &format!(r#"{{"mediaType":"a/b","digest":"{DIGEST}","size":4}}"#),
    );
    corpus.add(Kind::Image, "another size as config", config, "Ambiguous");
}

pub(super) fn digests(corpus: &mut Corpus) {
    let texts = [
        String::new(),
        "sha256:".to_owned(),
        "sha256".to_owned(),
        DIGEST.to_ascii_uppercase(),
        DIGEST.replace("sha256:", ""),
        DIGEST.replace("sha256", "sha512"),
        DIGEST.replace("sha256", "sha384"),
        DIGEST.replace("sha256", "blake3"),
        DIGEST.replace(':', "-"),
        format!("{DIGEST}0"),
        format!(" {DIGEST}"),
        format!("{DIGEST}\\n"),
        DIGEST.replace("ba", "BA"),
        DIGEST.replace("ba", "bg"),
        DIGEST.replacen('7', "\u{667}", 1),
        "sha256:../../../../../../../../../../../../../../../../../etc/passwd/".to_owned(),
        "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
    ];
    for kind in Kind::ALL {
        for (place, around) in kind.descriptors() {
            for text in &texts {
                let document = around(&descriptor_with("digest", &format!("\"{text}\"")));
                corpus.add(
                    kind,
                    &format!("digest {text:?} of {place}"),
                    document,
                    "Digest",
                );
            }
            for text in ["null", "0", "[]", "{}", "true"] {
                let document = around(&descriptor_with("digest", text));
                corpus.add(
                    kind,
                    &format!("digest {text} of {place}"),
                    document,
                    "Value",
                );
            }
        }
    }
}

pub(super) fn data(corpus: &mut Corpus) {
    for kind in Kind::ALL {
        for (place, around) in kind.descriptors() {
            // The right one is YWJj.
            for text in [
                "", "YWJ", "YWJk", "YWJjZA==", "YWI=", "YWJj\\n", " YWJj", "YWJj====", "YW-_", "?",
            ] {
                let document = around(&descriptor_with("data", &format!("\"{text}\"")));
                corpus.add(
                    kind,
                    &format!("data {text:?} of {place}"),
                    document,
                    "FalseData",
                );
            }
            for text in ["0", "[97,98,99]", "{}"] {
                let document = around(&descriptor_with("data", text));
                corpus.add(kind, &format!("data {text} of {place}"), document, "Value");
            }
        }
    }
}

pub(super) fn types_of_members(corpus: &mut Corpus) {
    let positional = format!(r#"["application/octet-stream","{DIGEST}",3]"#);
    for kind in Kind::ALL {
        for (name, valid) in kind.members() {
            for text in ["true", "1.5", "\"\\ud800\"", "[[]]", "[1]", "{\"a\":1}"] {
                let reason = if text == "\"\\ud800\"" {
                    "Syntax"
                } else {
                    "Value"
                };
                if text != valid {
                    let document = kind.with(name, text);
                    corpus.add(kind, &format!("{name} is {text}"), document, reason);
                }
            }
        }
        for (place, around) in kind.descriptors() {
            for text in [positional.as_str(), "[0]", "\"\"", "3", "false"] {
                corpus.add(
                    kind,
                    &format!("descriptor in {place} is {text}"),
                    around(text),
                    "Value",
                );
            }
            for (name, text) in [
                ("platform", "[\"linux\",\"amd64\"]"),
                ("platform", "\"linux/amd64\""),
                ("platform", "{\"os\":1}"),
                ("platform", "{\"os\":\"linux\\n\"}"),
                ("platform", "{\"os.features\":\"win32k\"}"),
                ("annotations", "{\"a\":null}"),
                ("annotations", "{\"a\":[]}"),
                ("annotations", "[\"a\",\"b\"]"),
                ("annotations", "\"a\""),
                ("urls", "\"https://example.test\""),
                ("urls", "[1]"),
                ("artifactType", "[]"),
                ("artifactType", "\"\\u0000\""),
            ] {
                let document = around(&descriptor_with(name, text));
                corpus.add(
                    kind,
                    &format!("{name} of {place} is {text}"),
                    document,
                    "Value",
                );
            }
        }
        let whole = kind.members().into_iter().map(|(_, text)| text);
        let whole = format!("[{}]", whole.collect::<Vec<_>>().join(","));
        corpus.add(kind, "an array of its members", whole, "Value");
        for text in ["null", "0", "\"\"", "[]", "true"] {
            corpus.add(kind, &format!("only {text}"), text, "Value");
        }
    }
}

pub(super) fn missing_members(corpus: &mut Corpus) {
    corpus.add(Kind::Index, "nothing", "{}", "Ambiguous");
    corpus.add(
        Kind::Index,
        "no manifests",
        Kind::Index.without("manifests"),
        "Ambiguous",
    );
    for kind in [Kind::Image, Kind::DockerImage] {
        corpus.add(kind, "nothing", "{}", "Ambiguous");
        for name in ["config", "layers"] {
            corpus.add(kind, &format!("no {name}"), kind.without(name), "Ambiguous");
        }
        corpus.add(
            kind,
            "config null",
            kind.with("config", "null"),
            "Ambiguous",
        );
    }
    for kind in Kind::ALL {
        for (place, around) in kind.descriptors() {
            for name in ["mediaType", "digest", "size"] {
                let document = around(&descriptor_without(name));
                corpus.add(kind, &format!("no {name} of {place}"), document, "Value");
            }
        }
    }
}
