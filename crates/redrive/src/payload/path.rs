//! Where in an entry a value is: a field, then the way into what it holds.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// Where in an entry a value is: the name of a field, then the way into its decoded value.
///
/// Written like `data.customer.id` or `data.items[3].sku`. A part of digits is the item of an
/// array, or the key of an object that is called so; in brackets it is an item only. A name that
/// holds `.`, `[`, `]`, `=` or `"` stands in quotes, as a JSON string: `data."a.b".c`. A key that
/// begins with `$` gets one more, as where payloads are [shown](crate::Inspection::payload).
///
/// ```
/// use redrive::PayloadPath;
/// let path: PayloadPath = r#"data.items[3]."unit.price""#.parse()?;
/// assert_eq!(path.field(), "data");
/// assert_eq!(path.to_string(), r#"data.items[3]."unit.price""#);
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PayloadPath {
    field: String,
    steps: Vec<Step>,
}

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// To a key, as keys are shown.
    Key(String),
    /// To an item of an array, or to the key of these digits.
    Number(usize),
    /// To an item of an array.
    Index(usize),
}

impl Step {
    /// The key, as keys are shown; `None` where only an item can be meant.
    pub(crate) fn key(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Key(key) => Some(key.into()),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Index(_) => None,
        }
    }

    /// Which item; `None` where only a key can be meant.
    pub(crate) fn item(&self) -> Option<usize> {
        match self {
            Self::Key(_) => None,
            Self::Number(number) | Self::Index(number) => Some(*number),
        }
    }
}

/// What ends a name that stands without quotes.
const ENDS: [char; 5] = ['.', '[', ']', '=', '"'];

impl PayloadPath {
    /// Reads `PATH=VALUE`: the path, and all that stands behind the first `=` after it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when no path stands there, or no `=` behind it.
    pub fn split(assignment: &str) -> Result<(Self, &str), Error> {
        let (path, rest) = Self::read(assignment)?;
        match rest.strip_prefix('=') {
            Some(value) => Ok((path, value)),
            None => Err(wrong(assignment, "no = stands behind it")),
        }
    }

    /// The field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The beginning of it, so many steps behind the field.
    pub(crate) fn first(&self, steps: usize) -> Self {
        Self {
            field: self.field.clone(),
            steps: self.steps.iter().take(steps).cloned().collect(),
        }
    }

    /// The path that a text begins with, and what stands behind it: nothing, or from an `=` on.
    fn read(text: &str) -> Result<(Self, &str), Error> {
        let wrong = |what| wrong(text, what);
        let (Name { name: field, .. }, mut rest) = name(text).map_err(wrong)?;
        let mut steps = Vec::new();
        loop {
            if let Some(after) = rest.strip_prefix('.') {
                let (name, after) = name(after).map_err(wrong)?;
                steps.push(name.step().map_err(wrong)?);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('[') {
                let (digits, after) = after.split_once(']').ok_or(wrong("a [ is left open"))?;
                let index = number(digits).ok_or(wrong("what stands in [] is no number"));
                steps.push(Step::Index(index?));
                rest = after;
            } else if rest.is_empty() || rest.starts_with('=') {
                return Ok((Self { field, steps }, rest));
            } else {
                return Err(wrong("neither . nor [ stands between two parts"));
            }
        }
    }
}

impl FromStr for PayloadPath {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match Self::read(text)? {
            (path, "") => Ok(path),
            _ => Err(wrong(text, "a = stands outside of quotes")),
        }
    }
}

/// A name, and whether it stood in quotes.
struct Name {
    name: String,
    quoted: bool,
}

impl Name {
    fn step(self) -> Result<Step, &'static str> {
        if self.name.starts_with('$') && !self.name.starts_with("$$") {
            return Err("a key begins with a single $: write $$ for one");
        }
        Ok(match number(&self.name) {
            Some(number) if !self.quoted => Step::Number(number),
            _ => Step::Key(self.name),
        })
    }
}

/// The name that a text begins with, and the rest.
fn name(text: &str) -> Result<(Name, &str), &'static str> {
    let quoted = text.starts_with('"');
    if quoted {
        let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let Some(Ok(name)) = strings.next() else {
            return Err("what stands in quotes is no JSON string");
        };
        let rest = text.get(strings.byte_offset()..).unwrap_or_default();
        return Ok((Name { name, quoted }, rest));
    }
    let end = text.find(ENDS).unwrap_or(text.len());
    match text.split_at_checked(end) {
        Some(("", _)) | None => Err("a part is empty"),
        Some((name, _)) if name.chars().any(char::is_control) => {
            Err("a control character stands outside of quotes")
        }
        Some((name, rest)) => {
            let name = name.to_owned();
            Ok((Name { name, quoted }, rest))
        }
    }
}

/// A number in its shortest form.
fn number(digits: &str) -> Option<usize> {
    let number: usize = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

fn wrong(text: &str, what: &str) -> Error {
    let cure = format!(
        "{what}; a path is a field, then the way into its value, like data.customer.id or \
         data.items[3], odd names in quotes"
    );
    Error::new(ErrorKind::Invalid, format!("reading the path {text:?}")).hint(cure)
}

impl fmt::Display for PayloadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, &self.field, Quotes::WhereOdd)?;
        for step in &self.steps {
            match step {
                Step::Key(key) if number(key).is_some() => {
                    f.write_char('.')?;
                    write_name(f, key, Quotes::Always)?;
                }
                Step::Key(key) => {
                    f.write_char('.')?;
                    write_name(f, key, Quotes::WhereOdd)?;
                }
                Step::Number(number) => write!(f, ".{number}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Always,
    WhereOdd,
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &str, quotes: Quotes) -> fmt::Result {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | ':' | '@' | '/');
    if quotes == Quotes::WhereOdd && !name.is_empty() && name.chars().all(plain) {
        return f.write_str(name);
    }
    f.write_str(&serde_json::to_string(name).map_err(|_| fmt::Error)?)
}
