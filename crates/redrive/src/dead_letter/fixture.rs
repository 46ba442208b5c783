//! The fields of a message, out of what was kept of it as JSON: for tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::error::Category;

use super::read;
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::EntryId;

impl Fields {
    /// The fields of the message that a dead letter was, out of its JSON: a file that
    /// `redrive dlq pull` wrote, or a line of `redrive dlq list -o jsonl` or of an export. So what
    /// a handler failed on becomes a test of it.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, Fields, Message, Outcome, Processor, Source};
    /// # #[derive(serde::Deserialize)]
    /// # struct Order { cents: i64 }
    /// # async fn bill(order: Message<Order>) -> Outcome {
    /// #     if order.cents < 0 { Outcome::dead_letter("the total is negative") } else { Outcome::Ack }
    /// # }
    /// // include_str!("fixtures/1795324222405-0.json")
    /// let pulled = r#"{"id": "1795324222405-0", "fields": [["data", "{\"cents\": -1}"]]}"#;
    /// let broker = Broker::connect("memory:").await?;
    /// let producer = broker.producer("orders".parse()?);
    /// producer.send_fields(Fields::from_json(pulled)?).await?;
    /// let mut billing = Processor::builder(&broker, Source::new("orders", "billing")?).build(bill)?;
    /// assert_eq!(billing.run_until_idle().await?.dead_lettered, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Read are `fields`, the message's own, or, where that is missing, `stored`, all fields of the
    /// dead letter: pairs of name and value, each a string or `{"base64":"…"}`. What else stands
    /// there is passed over.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the text is not of that form. It says where, and quotes nothing.
    pub fn from_json(json: &str) -> Result<Self, Error> {
        let document: Document = serde_json::from_str(json).map_err(|error| {
            let what = match error.classify() {
                Category::Eof => "it ends too early",
                Category::Data => "valid JSON of another shape",
                Category::Syntax | Category::Io => "not JSON",
            };
            let (line, column) = (error.line(), error.column());
            invalid(&format!("{what} at line {line} column {column}"))
        })?;
        match (document.fields, document.stored) {
            (Some(pairs), _) => fields(pairs),
            (None, Some(pairs)) => Ok(read(EntryId::MIN, fields(pairs)?).fields),
            (None, None) => Err(invalid("it has neither `fields` nor `stored`")),
        }
    }
}

#[derive(Deserialize)]
struct Document {
    fields: Option<Vec<(Text, Text)>>,
    stored: Option<Vec<(Text, Text)>>,
}

/// Bytes in either of their two forms.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Binary { base64: String },
}

fn fields(pairs: Vec<(Text, Text)>) -> Result<Fields, Error> {
    let pairs = pairs
        .into_iter()
        .map(|(name, value)| Ok((bytes(name)?, bytes(value)?)));
    pairs.collect::<Result<Vec<_>, _>>().map(Fields::from_iter)
}

fn bytes(text: Text) -> Result<Bytes, Error> {
    match text {
        Text::Plain(text) => Ok(text.into()),
        Text::Binary { base64 } => {
            let bytes = STANDARD.decode(base64);
            bytes
                .map(Bytes::from)
                .map_err(|_| invalid("a `base64` that is none"))
        }
    }
}

fn invalid(what: &str) -> Error {
    let doing = format!("reading the fields of a dead letter from JSON: {what}");
    Error::new(ErrorKind::Invalid, doing).hint(
        "give it a file of `redrive dlq pull`, or one line of a list or an export as JSON Lines",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_of_any_bytes_come_back_in_their_order() {
        let json = r#"{"id":"1-0","error":null,"fields":
            [["a","1"],["a","\u001b\n"],[{"base64":"/w=="},""],["",{"base64":"AP8="}]],"stored":7}"#;
        // `stored` has to be pairs, or not there.
        assert!(Fields::from_json(json).is_err());
        let found = Fields::from_json(&json.replace(",\"stored\":7", "")).unwrap();
        let pairs: Vec<(&[u8], &[u8])> = found.iter().collect();
        let expected: [(&[u8], &[u8]); 4] = [
            (b"a", b"1"),
            (b"a", b"\x1b\n"),
            (b"\xff", b""),
            (b"", b"\0\xff"),
        ];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn of_what_is_stored_only_the_messages_own_fields_are_taken() {
        let json = r#"{"stored":[["data","7"],["redrive-v","1"],["redrive-fields","1"],["redrive-stream","orders"]]}"#;
        let found = Fields::from_json(json).unwrap();
        assert_eq!(found, Fields::from_iter([("data", "7")]));
    }

    #[test]
    fn what_is_no_dead_letter_is_refused_without_being_quoted() {
        for (json, why) in [
            ("", "it ends too early at line 1 column 0"),
            ("secret", "not JSON at line 1 column 1"),
            (
                "[\"secret\"]",
                "valid JSON of another shape at line 1 column 9",
            ),
            (
                "{\"fields\":{\"a\":\"secret\"}}",
                "valid JSON of another shape at line 1 column 10",
            ),
            (
                "{\"fields\":[[\"a\",{\"base64\":\"secret!\"}]]}",
                "a `base64` that is none",
            ),
            (
                "{\"id\":\"secret\"}",
                "it has neither `fields` nor `stored`",
            ),
        ] {
            let error = Fields::from_json(json).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().ends_with(why), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
