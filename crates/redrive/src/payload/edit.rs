//! Changes to a payload as it is shown: a value set, a merge patch applied; all beside it stays as it is written.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::part::Shape;
use super::path::{PayloadPath, Step};

/// Why a change cannot be made: where, and what is there. Never the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misfit(pub(crate) String);

/// The form with this value at the end of the path, whose field holds the form.
pub(super) fn set(
    form: &RawValue,
    path: &PayloadPath,
    value: &RawValue,
) -> Result<Box<RawValue>, Misfit> {
    let value = value.get();
    raw(Setting { path, value }.within(form.get(), path.steps())?)
}

struct Setting<'a> {
    path: &'a PayloadPath,
    value: &'a str,
}

impl Setting<'_> {
    fn within(&self, form: &str, steps: &[Step]) -> Result<String, Misfit> {
        let [step, rest @ ..] = steps else {
            return Ok(self.value.to_owned());
        };
        let here = self.path.steps().len() - steps.len();
        match Level::of(form) {
            Level::Tagged(tag, content) => Ok(tagged(tag, &self.within(content, steps)?)),
            Level::Members(shape, mut members) => {
                let Some(key) = step.key() else {
                    return Err(self.not_at(here, shape.kind(), "an array"));
                };
                let place = match place(&members, shape, &key) {
                    Place::Twice => return Err(self.at(here + 1, "is there twice")),
                    Place::At(place) => Some(place),
                    Place::Nowhere => None,
                };
                match (place.and_then(|place| members.get_mut(place)), rest) {
                    (Some((_, value)), _) => *value = self.within(value, rest)?.into(),
                    // A number may be meant, where keys are no text.
                    (None, []) if shape == Shape::Object || step.item().is_none() => {
                        members.push((named(shape, &key).into(), self.value.into()));
                    }
                    (None, _) => return Err(self.at(here + 1, "does not exist")),
                }
                Ok(shape.written(&members))
            }
            Level::Items(mut items) => {
                let Some(item) = step.item() else {
                    return Err(self.not_at(here, "an array", "an object"));
                };
                let many = items.len();
                let Some(value) = items.get_mut(item) else {
                    return Err(self.at(here, format_args!("has {many} items, no [{item}]")));
                };
                let new = self.within(value, rest)?;
                *value = &new;
                Ok(format!("[{}]", items.join(",")))
            }
            Level::Leaf(kind) if step.key().is_some() => Err(self.not_at(here, kind, "an object")),
            Level::Leaf(kind) => Err(self.not_at(here, kind, "an array")),
        }
    }

    fn at(&self, steps: usize, what: impl fmt::Display) -> Misfit {
        Misfit(format!("{} {what}", self.path.first(steps)))
    }

    fn not_at(&self, steps: usize, is: &str, wanted: &str) -> Misfit {
        self.at(steps, format_args!("is {is}, not {wanted}"))
    }
}

/// The form after a merge patch, as RFC 7396 defines it. The patch is a form too: `{"$bin":…}` and
/// its like are values, whatever they replace.
pub(super) fn merge(form: &RawValue, patch: &RawValue) -> Result<Box<RawValue>, Misfit> {
    raw(merged(Some(form.get()), patch.get())?)
}

fn merged(form: Option<&str>, patch: &str) -> Result<String, Misfit> {
    let Level::Members(Shape::Object, changes) = Level::of(patch) else {
        return Ok(patch.to_owned());
    };
    let (shape, mut members) = match form.map(Level::of) {
        Some(Level::Tagged(tag, content)) => {
            return Ok(tagged(tag, &merged(Some(content), patch)?));
        }
        Some(Level::Members(shape, members)) => (shape, members),
        _ => (Shape::Object, Vec::new()),
    };
    for (name, change) in changes {
        let Ok(key) = serde_json::from_str::<String>(&name) else {
            return Err(Misfit("the patch has a key that is not Unicode".to_owned()));
        };
        let removed = change == "null";
        match place(&members, shape, &key) {
            Place::Twice => return Err(Misfit(format!("its key {key:?} is there twice"))),
            Place::At(place) if removed => drop(members.remove(place)),
            Place::At(place) => {
                if let Some((_, value)) = members.get_mut(place) {
                    *value = merged(Some(value), &change)?.into();
                }
            }
            Place::Nowhere if removed => {}
            Place::Nowhere => {
                let value = merged(None, &change)?;
                members.push((named(shape, &key).into(), value.into()));
            }
        }
    }
    Ok(shape.written(&members))
}

/// A value that holds others, one level deep. All parts are JSON, as they are written.
enum Level<'a> {
    Members(Shape, Vec<Member<'a>>),
    Items(Vec<&'a str>),
    /// The number of a CBOR tag, and what it is for.
    Tagged(&'a str, &'a str),
    /// Says what it is.
    Leaf(&'static str),
}

/// A key and its value.
type Member<'a> = (Cow<'a, str>, Cow<'a, str>);

impl Shape {
    fn kind(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Pairs => "a map",
        }
    }

    fn written(self, members: &[Member<'_>]) -> String {
        let (open, colon, close) = match self {
            Self::Object => ("", ":", ""),
            Self::Pairs => ("[", ",", "]"),
        };
        let parts = members.iter();
        let parts = parts.map(|(key, value)| [open, key, colon, value, close].concat());
        let parts = parts.collect::<Vec<_>>().join(",");
        match self {
            Self::Object => format!("{{{parts}}}"),
            Self::Pairs => format!(r#"{{"$map":[{parts}]}}"#),
        }
    }
}

const ELSE: Level<'static> = Level::Leaf("something else");

impl<'a> Level<'a> {
    fn of(form: &'a str) -> Self {
        match form.as_bytes().first() {
            Some(b'{') => Self::object(form),
            Some(b'[') => parts(form).map_or(ELSE, Self::Items),
            Some(b'"') => Self::Leaf("a text"),
            Some(b'n') => Self::Leaf("null"),
            Some(b't' | b'f') => Self::Leaf("true or false"),
            _ => Self::Leaf("a number"),
        }
    }

    fn object(form: &'a str) -> Self {
        let Ok(Members(members)) = serde_json::from_str(form) else {
            return ELSE;
        };
        let [(key, content)] = members.as_slice() else {
            let members = members.into_iter();
            return Self::Members(
                Shape::Object,
                members
                    .map(|(key, value)| (key.into(), value.into()))
                    .collect(),
            );
        };
        match *key {
            r#""$bin""# => Self::Leaf("binary"),
            r#""$ext""# => Self::Leaf("an extension"),
            r#""$float""# | r#""$simple""# => Self::Leaf("a number"),
            r#""$tag""# => match parts(content).as_deref() {
                Some([tag, content]) => Self::Tagged(tag, content),
                _ => ELSE,
            },
            r#""$map""# => {
                let pair = |pair: &'a str| match parts(pair)?.as_slice() {
                    [key, value] => Some(((*key).into(), (*value).into())),
                    _ => None,
                };
                let pairs = parts(content).unwrap_or_default();
                let pairs: Option<Vec<Member<'a>>> = pairs.into_iter().map(pair).collect();
                pairs.map_or(ELSE, |pairs| Self::Members(Shape::Pairs, pairs))
            }
            key => Self::Members(Shape::Object, vec![(key.into(), (*content).into())]),
        }
    }
}

/// The items of an array.
fn parts(array: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

/// Where a key is.
enum Place {
    At(usize),
    Nowhere,
    Twice,
}

fn place(members: &[Member<'_>], shape: Shape, key: &str) -> Place {
    let numbered = members.iter().enumerate();
    let mut found = numbered.filter(|(_, (written, _))| shape.is_key(written, key));
    match (found.next(), found.next()) {
        (Some((place, _)), None) => Place::At(place),
        (None, _) => Place::Nowhere,
        (Some(_), Some(_)) => Place::Twice,
    }
}

/// A new key, as it is written.
fn named(shape: Shape, key: &str) -> String {
    serde_json::Value::from(shape.meant(key)).to_string()
}

fn tagged(tag: &str, content: &str) -> String {
    format!(r#"{{"$tag":[{tag},{content}]}}"#)
}

fn raw(json: String) -> Result<Box<RawValue>, Misfit> {
    RawValue::from_string(json).map_err(|_| Misfit("what comes of it is no JSON".to_owned()))
}

/// The members of an object, in their order, their names as they are written.
struct Members<'a>(Vec<(&'a str, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(&'de str, &'de str)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push((key.get(), value.get()));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(InOrder).map(Members)
    }
}
