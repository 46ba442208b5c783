//! Where in an entry a value is: a field, then the way into what it holds.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// Where in an entry a value is: the name of a field, then the way into its decoded value.
///
/// Written like `data.customer.id` or `data.items[3].sku`. A part of digits is the item of an
/// array, counted from 0, or the key of an object that is called so; in brackets it is an item
/// only. A name that is empty, holds `.`, `[`, `]`, `=`, `"` or a control character, begins or
/// ends with a space, or ends with `!`, `<`, `>`, `~` or `+`, stands in quotes, as a JSON string:
/// `data."a.b".c`. What stands in quotes is a name, never an item. A key that begins with `$` gets
/// one more, as where payloads are [shown](crate::Inspection::payload).
///
/// ```
/// use redrive::PayloadPath;
/// let path: PayloadPath = r#"data.items[3]."unit.price""#.parse()?;
/// assert_eq!(path.field(), "data");
/// assert_eq!(path.to_string(), r#"data.items[3]."unit.price""#);
/// let refused = "data..id".parse::<PayloadPath>().unwrap_err();
/// assert!(refused.cure().unwrap().contains("at character 6"));
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

/// From where on a text is no path, and why.
type Wrong<'a> = (&'a str, &'static str);

impl PayloadPath {
    /// Reads `PATH=VALUE`: the path, and all that stands behind the first `=` after it. A value
    /// that begins with one more `=` is refused, as a slip: as JSON it is `"=…"`.
    ///
    /// ```
    /// use redrive::PayloadPath;
    /// let (path, value) = PayloadPath::split("data.note=a=b")?;
    /// assert_eq!((path.to_string().as_str(), value), ("data.note", "a=b"));
    /// # Ok::<(), redrive::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when no path stands there, or no `=` behind it; the
    /// [cure](Error::cure) says where.
    pub fn split(assignment: &str) -> Result<(Self, &str), Error> {
        Self::assigned(assignment).map_err(|wrong| {
            let doing = format!("reading {assignment:?} as PATH=VALUE");
            let form = "it is PATH=VALUE, such as data.customer.id=7";
            refused(doing, assignment, wrong, form)
        })
    }

    fn assigned(text: &str) -> Result<(Self, &str), Wrong<'_>> {
        let (path, rest) = Self::read(text)?;
        let Some(value) = rest.strip_prefix('=') else {
            return Err((rest, "there is no = behind the path"));
        };
        if value.starts_with('=') {
            let why = "one = is enough; a text that begins with = is written as JSON, \"=…\"";
            return Err((value, why));
        }
        Ok((path, value))
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
    fn read(text: &str) -> Result<(Self, &str), Wrong<'_>> {
        let (Name { name: field, .. }, mut rest) = name(text)?;
        let mut steps = Vec::new();
        loop {
            if let Some(part) = rest.strip_prefix('.') {
                let (name, after) = name(part)?;
                steps.push(name.step().map_err(|why| (part, why))?);
                rest = after;
            } else if let Some(inside) = rest.strip_prefix('[') {
                let open = (rest, "the [ that begins here is not closed");
                let (digits, after) = inside.split_once(']').ok_or(open)?;
                let index = number(digits);
                let none = "in [] stands which item it is, a number from 0 on";
                steps.push(Step::Index(index.ok_or((inside, none))?));
                rest = after;
            } else if rest.is_empty() || rest.starts_with('=') {
                return Ok((Self { field, steps }, rest));
            } else {
                let why = "behind a part comes a dot, a [ or an =; a name that holds quotes or \
                           brackets is quoted as a whole";
                return Err((rest, why));
            }
        }
    }
}

impl FromStr for PayloadPath {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is not of this form; the [cure](Error::cure) says where.
    fn from_str(text: &str) -> Result<Self, Error> {
        let read = match Self::read(text) {
            Ok((path, "")) => Ok(path),
            Ok((_, rest)) => Err((rest, "a name that holds an = is quoted")),
            Err(wrong) => Err(wrong),
        };
        read.map_err(|wrong| {
            let form = "a path is a field, then the way into its value, such as \
                        data.customer.id or data.items[3]";
            refused(format!("reading the path {text:?}"), text, wrong, form)
        })
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
fn name(text: &str) -> Result<(Name, &str), Wrong<'_>> {
    let quoted = text.starts_with('"');
    if quoted {
        let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
        return match strings.next() {
            Some(Ok(name)) => {
                let rest = text.get(strings.byte_offset()..).unwrap_or_default();
                Ok((Name { name, quoted }, rest))
            }
            Some(Err(error)) if error.is_eof() => {
                Err((text, "the quotes that begin here are not closed"))
            }
            _ => Err((text, "a quoted name is a JSON string")),
        };
    }
    let end = text.find(ENDS).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    if let Some(why) = slip(name) {
        return Err((text, why));
    }
    let name = name.to_owned();
    Ok((Name { name, quoted }, rest))
}

/// What is more likely a slip of the hand than a name: it has to be quoted.
fn slip(name: &str) -> Option<&'static str> {
    match name.chars().next_back() {
        None => Some("a part is empty; write \"\" for a name that is"),
        Some('!' | '<' | '>' | '~' | '+') => {
            Some("there is no other sign than =; quote a name that ends like this")
        }
        _ if name.trim() != name => {
            Some("a part begins or ends with a space; leave it out, or quote the name")
        }
        _ if name.chars().any(char::is_control) => {
            Some("a part holds a control character; quote the name, as JSON")
        }
        Some(_) => None,
    }
}

/// A number in its shortest form.
fn number(digits: &str) -> Option<usize> {
    let number: usize = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// That a text is none of this form, from a place on.
fn refused(doing: String, text: &str, (rest, why): Wrong<'_>, form: &str) -> Error {
    let before = text.strip_suffix(rest).unwrap_or_default();
    let character = before.chars().count() + 1;
    let cure = format!("at character {character}: {why}; {form}");
    Error::new(ErrorKind::Invalid, doing).hint(cure)
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
