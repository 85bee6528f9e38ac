//! The reader between the parser and the type that is read: every object, array and value passes here.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{Fault, MAX_DEPTH, MAX_MEMBERS, Progress, Segment};

/// The parser, as the type that is read sees it.
pub(super) struct Strict<'p, D> {
    inner: D,
    progress: &'p Progress,
    depth: usize,
}

impl<'p, D> Strict<'p, D> {
    pub(super) const fn new(inner: D, progress: &'p Progress) -> Self {
        Self {
            inner,
            progress,
            depth: 0,
        }
    }

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
