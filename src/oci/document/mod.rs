//! Reads JSON that somebody else will read too, with another parser, and refuses what the two could
//! understand differently.
//!
//! The others are mostly written in Go, whose parser takes the last of two equal names, takes
//! `Layers` for `layers`, and even takes a long s or a Kelvin sign for the letter. Here such a
//! document is an error, as are a byte order mark, text that is no UTF-8, something after the end,
//! an array in the place of an object, and more nesting or members than any real document has.
//!
//! It is one pass of serde over the bytes: [`read`] puts itself between `serde_json` and the type
//! that is read. It knows of no particular document.

mod strict;

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::Deserialize;

use self::strict::Strict;

/// Deepest nesting of arrays and objects.
const MAX_DEPTH: usize = 64;
/// Most members of one array or object.
const MAX_MEMBERS: usize = 10_000;
/// Most values in a document, whatever contains them: it bounds the memory that a document of
/// permitted size takes once it is read.
const MAX_VALUES: usize = 250_000;

/// Where in a document something is, for example `layers[3].size`.
///
/// Only names that the reader knows are shown; a name that the document chose is shown as `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(String);

/// Why a document is not read. It repeats nothing of the document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// More bytes than a document of its kind may have.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: usize,
    },
    /// A byte order mark stands in front.
    #[error("it starts with a byte order mark")]
    ByteOrderMark,
    /// The bytes are no text.
    #[error("it is not UTF-8 text")]
    Encoding,
    /// No JSON, or something after its end.
    #[error("it is not JSON at line {line}, column {column}")]
    Syntax {
        /// Where the parser stopped, from 1.
        line: usize,
        /// Where the parser stopped, from 1.
        column: usize,
    },
    /// A member is missing, has another type, or a value that the specification excludes.
    #[error("{0} is not what the specification says")]
    Value(Field),
    /// An object has two members of one name.
    #[error("{0} occurs twice")]
    Duplicate(Field),
    /// A member has the name of another one up to case, so that some parsers take one for the other.
    #[error("{0} occurs in another case")]
    Case(Field),
    /// Arrays and objects contain each other too deeply.
    #[error("it nests more than {MAX_DEPTH} levels")]
    Depth,
    /// An array or object has too many members.
    #[error("{0} has more than {MAX_MEMBERS} members")]
    Members(Field),
    /// The document has too many values in all.
    #[error("it has more than {MAX_VALUES} values")]
    Values,
}

impl DocumentError {
    /// A fixed word for the kind of error.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "TooLarge",
            Self::ByteOrderMark => "ByteOrderMark",
            Self::Encoding => "Encoding",
            Self::Syntax { .. } => "Syntax",
            Self::Value(_) => "Value",
            Self::Duplicate(_) => "DuplicateMember",
            Self::Case(_) => "CaseVariant",
            Self::Depth => "TooDeep",
            Self::Members(_) => "TooManyMembers",
            Self::Values => "TooManyValues",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            formatter.write_str("the document itself")
        } else {
            write!(formatter, "`{}`", self.0)
        }
    }
}

/// Reads a document of at most `limit` bytes.
pub(crate) fn read<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    limit: usize,
) -> Result<T, DocumentError> {
    if bytes.len() > limit {
        return Err(DocumentError::TooLarge { limit });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DocumentError::Encoding)?;
    if text.starts_with('\u{feff}') {
        return Err(DocumentError::ByteOrderMark);
    }
    let progress = Progress::default();
    let mut json = serde_json::Deserializer::from_str(text);
    T::deserialize(Strict::new(&mut json, &progress))
        .and_then(|value| json.end().map(|()| value))
        .map_err(|error| progress.explain(&error))
}

/// What the readers of all levels share. Serde knows only errors of the parser's own type, so that
/// the reason for giving up is kept here until the parser has returned.
#[derive(Default)]
struct Progress {
    fault: Cell<Option<Fault>>,
    values: Cell<usize>,
    /// From the innermost to the outermost; filled while an error returns.
    path: RefCell<Vec<Segment>>,
}

#[derive(Clone, Copy)]
enum Fault {
    Duplicate,
    Case,
    Depth,
    Members,
    Values,
}

#[derive(Clone, Copy)]
enum Segment {
    Known(&'static str),
    Unknown,
    Element(usize),
}

impl Progress {
    fn fail<E: serde::de::Error>(&self, fault: Fault) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }

    fn count<E: serde::de::Error>(&self) -> Result<(), E> {
        let values = self.values.get() + 1;
        self.values.set(values);
        if values > MAX_VALUES {
            return Err(self.fail(Fault::Values));
        }
        Ok(())
    }

    fn passes<T, E>(&self, result: Result<T, E>, segment: Segment) -> Result<T, E> {
        if result.is_err() {
            self.path.borrow_mut().push(segment);
        }
        result
    }

    fn explain(&self, error: &serde_json::Error) -> DocumentError {
        let field = self.field();
        match self.fault.get() {
            Some(Fault::Duplicate) => DocumentError::Duplicate(field),
            Some(Fault::Case) => DocumentError::Case(field),
            Some(Fault::Depth) => DocumentError::Depth,
            Some(Fault::Members) => DocumentError::Members(field),
            Some(Fault::Values) => DocumentError::Values,
            None if error.is_data() => DocumentError::Value(field),
            None => DocumentError::Syntax {
                line: error.line(),
                column: error.column(),
            },
        }
    }

    fn field(&self) -> Field {
        use fmt::Write as _;

        let mut text = String::new();
        for segment in self.path.borrow().iter().rev() {
            if !text.is_empty() && !matches!(segment, Segment::Element(_)) {
                text.push('.');
            }
            match segment {
                Segment::Known(name) => text.push_str(name),
                Segment::Unknown => text.push('?'),
                Segment::Element(index) => {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "[{index}]");
                }
            }
        }
        Field(text)
    }
}

impl Field {
    /// The member `name` of the document itself.
    pub(super) fn member(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The element of this array at `index`.
    pub(super) fn element(name: &str, index: usize) -> Self {
        Self(format!("{name}[{index}]"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Tasks {
        kinds: Option<Vec<Task>>,
        #[serde(rename = "os.version", default)]
        version: String,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Task {
        size: u8,
    }

    fn read_tasks(text: &str) -> Result<Tasks, String> {
        read(text.as_bytes(), 1000).map_err(|error| error.to_string())
    }

    #[test]
    fn a_document_is_read_with_and_without_escapes() {
        let expected = Tasks {
            kinds: Some(vec![Task { size: 1 }]),
            version: "1\u{e9}".to_owned(),
        };
        for text in [
            r#"{"kinds":[{"size":1}],"os.version":"1é","x":[null,true,1.5,{"y":-1}]}"#,
            r#" { "\u006binds" : [ { "size" : 1 } ] , "os.version" : "1\u00e9" } "#,
        ] {
            assert_eq!(read_tasks(text).as_ref(), Ok(&expected));
        }
    }

    #[rstest]
    #[case("{\"kinds\":[{\"size\":1},{\"size\":256}]}", "`kinds[1].size` is not")]
    #[case("{\"kinds\":[{\"size\":1},{}]}", "`kinds[1]` is not")]
    #[case("{\"kinds\":[[1]]}", "`kinds[0]` is not")]
    #[case("[null,\"\"]", "the document itself is not")]
    #[case("{\"x\":{\"secret\":1,\"secret\":2}}", "`?.?` occurs twice")]
    #[case("{\"kinds\":null,\"\\u006binds\":null}", "`kinds` occurs twice")]
    #[case("{\"\u{212a}inds\":null}", "`kinds` occurs in another case")]
    #[case("{\"kind\u{17f}\":null}", "`kinds` occurs in another case")]
    #[case("{\"OS.Version\":null}", "`os.version` occurs in another case")]
    #[case("{\"kinds\":[{\"SIZE\":1}]}", "`kinds[0].size` occurs in another case")]
    #[case("{} {}", "it is not JSON at line 1, column 4")]
    #[case("{\"x\":1e999}", "it is not JSON at line 1")]
    #[case("\u{feff}{}", "it starts with a byte order mark")]
    fn what_can_be_misread_is_refused_by_its_place(#[case] text: &str, #[case] expected: &str) {
        let error = read_tasks(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn names_that_only_look_alike_are_other_names() {
        for name in [
            "kind",
            "kindss",
            "k\u{131}nds",
            "\u{ff4b}inds",
            "os_version",
        ] {
            assert!(read_tasks(&format!("{{\"{name}\":0}}")).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_limit_is_in_bytes() {
        let text = format!("{{\"x\":\"{}\"}}", "x".repeat(1000 - 8));
        assert_eq!(text.len(), 1000);
        assert!(read_tasks(&text).is_ok());
        assert!(read_tasks(&format!("{text} ")).is_err());
    }
}
