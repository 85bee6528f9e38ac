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

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

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
pub(super) fn read<'de, T: Deserialize<'de>>(
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
    T::deserialize(Strict {
        inner: &mut json,
        progress: &progress,
        depth: 0,
    })
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

/// The parser, as the type that is read sees it.
struct Strict<'p, D> {
    inner: D,
    progress: &'p Progress,
    depth: usize,
}

impl<'p, D> Strict<'p, D> {
    fn split<V>(self, fields: &'static [&'static str], visitor: V) -> (D, Checked<'p, V>) {
        let checked = Checked {
            visitor,
            progress: self.progress,
            depth: self.depth,
            fields,
        };
        (self.inner, checked)
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let (inner, visitor) = self.split(&[], visitor);
        inner.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let (inner, visitor) = self.split(&[], visitor);
        inner.deserialize_option(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let (inner, visitor) = self.split(&[], visitor);
        inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let (inner, visitor) = self.split(fields, visitor);
        inner.deserialize_any(visitor)
    }

    // Nothing is skipped without a look: other parsers look, too.
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The one who reads a value, as the parser sees it.
struct Checked<'p, V> {
    visitor: V,
    progress: &'p Progress,
    depth: usize,
    /// The names that an object in this place may have; empty where any name may stand.
    fields: &'static [&'static str],
}

impl<V> Checked<'_, V> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.progress.fail(Fault::Depth));
        }
        Ok(self.depth + 1)
    }
}

/// Values without parts go through as they are.
macro_rules! forward_scalars {
    ($($method:ident: $type:ty),*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Checked<'_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(formatter)
    }

    forward_scalars! {
        visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64,
        visit_str: &str, visit_borrowed_str: &'de str, visit_string: String
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Strict {
            inner,
            progress: self.progress,
            depth: self.depth,
        })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Strict {
            inner,
            progress: self.progress,
            depth: self.depth,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        if !self.fields.is_empty() {
            // Serde would take the elements for the members in their order.
            return Err(A::Error::custom("an array in the place of an object"));
        }
        let depth = self.deeper()?;
        self.visitor.visit_seq(Elements {
            inner,
            progress: self.progress,
            depth,
            index: 0,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let depth = self.deeper()?;
        self.visitor.visit_map(Members {
            inner,
            progress: self.progress,
            depth,
            fields: self.fields,
            seen_fields: 0,
            seen_names: HashSet::new(),
            count: 0,
            current: Segment::Unknown,
        })
    }
}

/// Reads a part of a value as strictly as the whole.
struct Part<'p, S> {
    seed: S,
    progress: &'p Progress,
    depth: usize,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Part<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.progress.count()?;
        self.seed.deserialize(Strict {
            inner,
            progress: self.progress,
            depth: self.depth,
        })
    }
}

struct Elements<'p, A> {
    inner: A,
    progress: &'p Progress,
    depth: usize,
    index: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let progress = self.progress;
        let element = progress.passes(
            self.inner.next_element_seed(Part {
                seed,
                progress,
                depth: self.depth,
            }),
            Segment::Element(self.index),
        )?;
        self.index += 1;
        if element.is_some() && self.index > MAX_MEMBERS {
            return Err(progress.fail(Fault::Members));
        }
        Ok(element)
    }
}

struct Members<'p, 'de, A> {
    inner: A,
    progress: &'p Progress,
    depth: usize,
    fields: &'static [&'static str],
    /// One bit for each of `fields`.
    seen_fields: u64,
    seen_names: HashSet<Cow<'de, str>>,
    count: usize,
    current: Segment,
}

impl<'de, A: MapAccess<'de>> Members<'_, 'de, A> {
    fn check(&mut self, name: &Cow<'de, str>) -> Result<(), A::Error> {
        self.count += 1;
        if self.count > MAX_MEMBERS {
            return Err(self.progress.fail(Fault::Members));
        }
        self.current = Segment::Unknown;
        let is_new = if let Some(index) = self.fields.iter().position(|field| field == name) {
            self.current = self
                .fields
                .get(index)
                .map_or(Segment::Unknown, |field| Segment::Known(field));
            let bit = 1 << index;
            let is_new = self.seen_fields & bit == 0;
            self.seen_fields |= bit;
            is_new
        } else {
            if let Some(field) = self.fields.iter().find(|field| folds_to(name, field)) {
                let refused = Err(self.progress.fail(Fault::Case));
                return self.progress.passes(refused, Segment::Known(field));
            }
            self.seen_names.insert(name.clone())
        };
        if is_new {
            Ok(())
        } else {
            let refused = Err(self.progress.fail(Fault::Duplicate));
            self.progress.passes(refused, self.current)
        }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Some(name) = self.inner.next_key_seed(Name)? else {
            return Ok(None);
        };
        self.check(&name)?;
        match name {
            Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
            Cow::Owned(name) => seed.deserialize(StringDeserializer::new(name)),
        }
        .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let progress = self.progress;
        progress.passes(
            self.inner.next_value_seed(Part {
                seed,
                progress,
                depth: self.depth,
            }),
            self.current,
        )
    }
}

/// Reads the name of a member, without a copy where the document has no escapes in it.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        inner.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a member")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Whether Go's `encoding/json` takes `name` for `field`, which is ASCII: it compares under Unicode
/// simple folding, and two characters outside ASCII fold into it.
fn folds_to(name: &str, field: &str) -> bool {
    name.chars()
        .map(|character| match character {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .eq(field
            .chars()
            .map(|character| character.to_ascii_lowercase()))
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
