//! The spans of time that a load measures, and values kept by span.
//!
//! A row of `spans!` is all that a new latency metric needs here: records, tables, conditions,
//! exports and merging iterate over [`Span::ALL`].

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::histogram::{Encoded, Quantiles};

/// The loads that measure a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All loads.
    Every,
    /// Loads with a schedule: open and partly open loops.
    Scheduled,
    /// Loads that open and close connections within the window.
    ShortConnections,
}

/// The properties of a span.
struct Facts {
    name: &'static str,
    label: &'static str,
    description: &'static str,
    scope: Scope,
}

/// Defines the spans by a table: the variants with their documentation, in the order of tables,
/// and the facts.
macro_rules! spans {
    ($($span:ident { name: $name:literal, label: $label:literal, description: $description:literal, scope: $scope:ident })*) => {
        /// A span of time that a load measures.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Span {
            $(#[doc = $description] $span,)*
        }

        impl Span {
            /// All spans, in the order of tables.
            pub const ALL: [Span; [$($name),*].len()] = [$(Span::$span),*];

            const fn facts(self) -> Facts {
                match self {
                    $(Span::$span => Facts {
                        name: $name,
                        label: $label,
                        description: $description,
                        scope: Scope::$scope,
                    },)*
                }
            }
        }
    };
}

spans! {
    Response {
        name: "response",
        label: "response time",
        description: "From the intended send to the end of the answer.",
        scope: Scheduled
    }
    Service {
        name: "service",
        label: "service time",
        description: "From the actual send to the end of the answer.",
        scope: Every
    }
    SendLag {
        name: "send_lag",
        label: "send lag",
        description: "From the intended to the actual send.",
        scope: Scheduled
    }
    Connect {
        name: "connect",
        label: "connect",
        description: "From the call of connect to the established connection.",
        scope: ShortConnections
    }
    FirstByte {
        name: "first_byte",
        label: "first byte",
        description: "From the call of connect to the first byte of the first answer.",
        scope: ShortConnections
    }
    Close {
        name: "close",
        label: "close",
        description: "From the end of our side to the end of the server's.",
        scope: ShortConnections
    }
}

impl Span {
    /// The name in records and conditions: `send_lag`.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The name in text: `send lag`.
    pub const fn label(self) -> &'static str {
        self.facts().label
    }

    /// Which loads measure it.
    pub const fn scope(self) -> Scope {
        self.facts().scope
    }

    /// The span of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Span::ALL.into_iter().find(|span| span.name() == name)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value for each span, in an array that the span indexes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BySpan<T>([T; Span::ALL.len()]);

/// Quantiles in microseconds of the spans that a load measured.
///
/// In a record they are fields of the summary: `service_us`, `send_lag_us`.
pub type Latencies = BySpan<Option<Quantiles>>;

/// Whole distributions in nanoseconds of the spans that a load measured.
pub type Histograms = BySpan<Option<Encoded>>;

impl<T> BySpan<T> {
    /// Makes a value for each span.
    pub fn from_fn(value: impl FnMut(Span) -> T) -> Self {
        BySpan(Span::ALL.map(value))
    }

    /// The values with their spans, in the order of [`Span::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Span, &T)> {
        Span::ALL.into_iter().zip(&self.0)
    }
}

impl<T> BySpan<Option<T>> {
    /// The values that there are, with their spans.
    pub fn measured(&self) -> impl Iterator<Item = (Span, &T)> {
        self.iter()
            .filter_map(|(span, value)| Some((span, value.as_ref()?)))
    }

    /// The latency that counts: the response time if it was measured, else the service time.
    pub fn main(&self) -> Option<&T> {
        self[Span::Response].as_ref().or(self[Span::Service].as_ref())
    }

    /// Applies a function to the values that there are.
    pub fn map_measured<U>(&self, mut of: impl FnMut(&T) -> U) -> BySpan<Option<U>> {
        BySpan::from_fn(|span| self[span].as_ref().map(&mut of))
    }
}

impl<T> Index<Span> for BySpan<T> {
    type Output = T;

    #[inline]
    fn index(&self, span: Span) -> &T {
        &self.0[span as usize]
    }
}

impl<T> IndexMut<Span> for BySpan<T> {
    #[inline]
    fn index_mut(&mut self, span: Span) -> &mut T {
        &mut self.0[span as usize]
    }
}

impl<T> FromIterator<(Span, T)> for BySpan<Option<T>> {
    fn from_iter<I: IntoIterator<Item = (Span, T)>>(values: I) -> Self {
        let mut all = BySpan::from_fn(|_| None);
        for (span, value) in values {
            all[span] = Some(value);
        }
        all
    }
}

impl<T, const N: usize> From<[(Span, T); N]> for BySpan<Option<T>> {
    fn from(values: [(Span, T); N]) -> Self {
        values.into_iter().collect()
    }
}

/// How a record holds a value of a span.
pub trait Stored {
    /// Follows the span's name in the name of the field.
    const SUFFIX: &'static str;
    /// Whether the field of a span that needs a schedule is `null` without one; all other
    /// fields without a value are absent.
    const NULL_WITHOUT_SCHEDULE: bool;
}

impl Stored for Quantiles {
    const SUFFIX: &'static str = "_us";
    const NULL_WITHOUT_SCHEDULE: bool = true;
}

impl Stored for Encoded {
    const SUFFIX: &'static str = "";
    const NULL_WITHOUT_SCHEDULE: bool = false;
}

fn field<T: Stored>(span: Span) -> String {
    format!("{}{}", span.name(), T::SUFFIX)
}

impl<T: Stored + Serialize> Serialize for BySpan<Option<T>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (span, value) in self.iter() {
            let is_null = T::NULL_WITHOUT_SCHEDULE && span.scope() == Scope::Scheduled;
            if value.is_some() || is_null {
                map.serialize_entry(&field::<T>(span), value)?;
            }
        }
        map.end()
    }
}

impl<'de, T: Stored + Deserialize<'de>> Deserialize<'de> for BySpan<Option<T>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Stored + Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = BySpan<Option<T>>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a value for each span of time that was measured")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = BySpan::from_fn(|_| None);
                while let Some(name) = map.next_key::<String>()? {
                    match name.strip_suffix(T::SUFFIX).and_then(Span::from_name) {
                        Some(span) => all[span] = map.next_value()?,
                        None => map.next_value::<IgnoredAny>().map(|_| ())?,
                    }
                }
                let is_missing = |span: &Span| span.scope() == Scope::Every && all[*span].is_none();
                match Span::ALL.into_iter().find(is_missing) {
                    None => Ok(all),
                    Some(span) => {
                        let name = field::<T>(span);
                        Err(Error::custom(format_args!("missing field `{name}`")))
                    }
                }
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

impl<T: Stored + JsonSchema> JsonSchema for BySpan<Option<T>> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}BySpan", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        for span in Span::ALL {
            let mut property = match span.scope() {
                Scope::Every => generator.subschema_for::<T>(),
                _ => generator.subschema_for::<Option<T>>(),
            };
            let Facts {
                description, scope, ..
            } = span.facts();
            let condition = match scope {
                Scope::Every => "",
                Scope::Scheduled => " Only in open and partly open loops.",
                Scope::ShortConnections => " Only where connections open and close.",
            };
            property.insert("description".into(), format!("{description}{condition}").into());
            properties.insert(field::<T>(span), property.into());
        }
        let required = Span::ALL.into_iter().filter(|span| span.scope() == Scope::Every);
        let required: Vec<_> = required.map(field::<T>).collect();
        json_schema!({ "type": "object", "properties": properties, "required": required })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram;
    use serde_json::json;

    #[test]
    fn all_spans_stand_at_their_index_and_have_names_of_their_own() {
        for (index, span) in Span::ALL.into_iter().enumerate() {
            assert_eq!(span as usize, index);
            assert_eq!(Span::from_name(span.name()), Some(span));
        }
        assert_eq!(Span::from_name("idle"), None);
    }

    #[test]
    fn a_value_is_found_at_its_span() {
        let mut all = BySpan::from_fn(Span::name);
        all[Span::Close] = "changed";
        for (span, name) in all.iter() {
            assert_eq!(
                *name,
                if span == Span::Close {
                    "changed"
                } else {
                    span.name()
                }
            );
        }
    }

    #[test]
    fn the_main_latency_is_the_response_time_if_there_is_one() {
        let mut all = BySpan::from([(Span::Service, 1)]);
        assert_eq!(all.main(), Some(&1));
        all[Span::Response] = Some(2);
        assert_eq!(all.main(), Some(&2));
    }

    #[test]
    fn quantiles_have_a_unit_in_their_names_and_null_without_a_schedule() {
        let none = Quantiles::of(&histogram::empty());
        let latencies = Latencies::from([(Span::Service, none.clone()), (Span::Close, none.clone())]);
        let expected = json!({
            "response_us": null, "service_us": none, "send_lag_us": null, "close_us": none
        });
        assert_eq!(serde_json::to_value(&latencies).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Latencies>(expected).unwrap(), latencies);
    }

    #[test]
    fn histograms_are_absent_where_they_were_not_measured() {
        let encoded = Encoded::new(&histogram::empty());
        let histograms = Histograms::from([(Span::Service, encoded.clone())]);
        let expected = json!({ "service": encoded });
        assert_eq!(serde_json::to_value(&histograms).unwrap(), expected);
        let read = |value| serde_json::from_value::<Histograms>(value);
        assert_eq!(read(expected).unwrap(), histograms);
        let unknown = json!({ "service": encoded, "response": null, "thinking": 7 });
        assert_eq!(read(unknown).unwrap(), histograms, "names of others do no harm");
        assert!(read(json!({ "response": encoded })).is_err(), "no service time");
    }
}
