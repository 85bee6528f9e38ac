//! Bytes that are no JSON, and more of it than any document has.

use super::super::templates::{DIGEST, Kind, descriptor_with, object};
use super::Corpus;

pub(super) fn no_json(corpus: &mut Corpus) {
    for kind in Kind::ALL {
        let valid = kind.document();
        let utf_16: Vec<u8> = valid.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let (cut, _) = valid.split_at(valid.len() - 1);
        let (half, _) = valid.split_at(valid.len() / 2);
        for (name, document) in [
            ("empty", String::new()),
            ("spaces", "  \n".to_owned()),
            ("cut", cut.to_owned()),
            ("half", half.to_owned()),
            ("two documents", format!("{valid}{valid}")),
            ("trailing brace", format!("{valid}}}")),
            ("trailing comma", format!("{cut},}}")),
            ("trailing zero byte", format!("{valid}\0")),
            ("form feed in front", format!("\x0c{valid}")),
            ("comment", format!("/* */{valid}")),
            ("line comment", format!("{valid}//")),
            ("single quotes", valid.replace('"', "'")),
            (
                "names without quotes",
                valid.replacen("\"schemaVersion\"", "schemaVersion", 1),
            ),
            ("raw line break in a text", kind.with("x", "\"\n\"")),
            ("lone surrogate", kind.with("x", "\"\\udc00\"")),
            ("half a pair", kind.with("x", "\"\\ud83dx\"")),
            ("unknown escape", kind.with("x", "\"\\x41\"")),
            ("missing colon", valid.replacen(':', " ", 1)),
            ("number as a name", valid.replacen('{', "{1:2,", 1)),
            ("HTML", "<!DOCTYPE html><html></html>".to_owned()),
        ] {
            corpus.add(kind, name, document, "Syntax");
        }
        corpus.add(kind, "UTF-16", utf_16, "Syntax");
        corpus.add(
            kind,
            "byte order mark",
            format!("\u{feff}{valid}"),
            "ByteOrderMark",
        );
        for (name, bytes) in [
            ("stray byte", b"\"\xff\"".as_slice()),
            ("overlong slash", b"\"\xc0\xaf\""),
            ("encoded surrogate", b"\"\xed\xa0\x80\""),
            ("cut character", b"\"\xe2\x82\""),
        ] {
            let mut document = format!("{cut},\"x\":").into_bytes();
            document.extend_from_slice(bytes);
            document.push(b'}');
            corpus.add(kind, name, document, "Encoding");
        }
    }
}

pub(super) fn too_much(corpus: &mut Corpus) {
    let members = |count: usize, text: &str| {
        let members: Vec<_> = (0..count)
            .map(|n| (format!("n{n}"), text.to_owned()))
            .collect();
        object(&members)
    };
    let list = |count: usize, text: &str| format!("[{}]", vec![text; count].join(","));
    let small = format!(r#"{{"mediaType":"a/b","digest":"{DIGEST}","size":3}}"#);
    for kind in Kind::ALL {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for depth in [64, 100, 1_000, 500_000] {
            let document = kind.with("x", &nested(depth));
            corpus.add(kind, &format!("{depth} levels"), document, "TooDeep");
        }
        let objects = "{\"a\":".repeat(64) + "1" + &"}".repeat(64);
        corpus.add(kind, "nested objects", kind.with("x", &objects), "TooDeep");
        let padded = kind.document() + &" ".repeat(5 * 1024 * 1024);
        corpus.add(kind, "5 MiB of spaces", padded, "TooLarge");
        let long = kind.with("x", &format!("\"{}\"", "x".repeat(5 * 1024 * 1024)));
        corpus.add(kind, "5 MiB of text", long, "TooLarge");
        for (name, text) in [
            ("annotations", members(10_001, "\"\"")),
            ("x", members(10_001, "0")),
            ("y", list(10_001, "0")),
        ] {
            let document = kind.with(name, &text);
            corpus.add(kind, &format!("10,001 {name}"), document, "TooManyMembers");
        }
        let many = list(26, &list(9_999, "0"));
        corpus.add(
            kind,
            "250,000 values",
            kind.with("x", &many),
            "TooManyValues",
        );
        let children = match kind {
            Kind::Index => kind.with("manifests", &list(10_001, &small)),
            Kind::Image | Kind::DockerImage => kind.with("layers", &list(10_001, &small)),
        };
        corpus.add(kind, "10,001 children", children, "TooManyMembers");
        let (place, around) = kind.descriptors().remove(0);
        let urls = around(&descriptor_with("urls", &list(10_001, "\"\"")));
        corpus.add(
            kind,
            &format!("10,001 urls of {place}"),
            urls,
            "TooManyMembers",
        );
    }
}
