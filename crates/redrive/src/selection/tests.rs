//! Selections: what passes, what does not, and what is refused.

use super::*;
use crate::dead_letter::read;
use crate::message::Fields;

/// A dead letter with that id, of the group `billing`, that was rejected.
fn letter(id: u64, stream: &str) -> DeadLetter {
    let fields = Fields::from_iter([
        ("redrive-v", "1".to_owned()),
        ("redrive-fields", "0".to_owned()),
        ("redrive-stream", stream.to_owned()),
        ("redrive-group", "billing".to_owned()),
        ("redrive-reason", "rejected".to_owned()),
    ]);
    read(EntryId::new(id, 0), fields)
}

fn stream(name: &str) -> StreamKey {
    StreamKey::new(name).unwrap()
}

#[test]
fn filters_narrow_and_a_repeated_one_widens() {
    let (orders, mails) = (letter(1, "orders"), letter(2, "mails"));
    let all = Selection::all;
    let group = |name| GroupName::new(name).unwrap();
    for (selection, matched) in [
        (all(), [true, true]),
        (Selection::ids([]), [false, false]),
        (Selection::ids([mails.id]), [false, true]),
        (all().id(orders.id), [true, false]),
        (all().id(orders.id).id(mails.id), [true, true]),
        (all().stream(stream("orders")), [true, false]),
        (
            all().stream(stream("orders")).stream(stream("mails")),
            [true, true],
        ),
        (all().id(mails.id).stream(stream("orders")), [false, false]),
        (all().reason(Reason::Trimmed), [false, false]),
        (
            all().reason(Reason::Trimmed).reason(Reason::Rejected),
            [true, true],
        ),
        (
            all().reason(Reason::Trimmed).stream(stream("orders")),
            [false, false],
        ),
        (all().group(group("billing")), [true, true]),
        (all().group(group("shipping")), [false, false]),
        (all().limit(0), [true, true]),
    ] {
        let found = [selection.matches(&orders), selection.matches(&mails)];
        assert_eq!(found, matched, "{selection:?}");
    }
}

#[test]
fn what_a_dead_letter_does_not_say_passes_no_filter() {
    let foreign = read(EntryId::new(1, 0), Fields::from_iter([("a", "b")]));
    assert!(Selection::all().matches(&foreign));
    assert!(!Selection::all().stream(stream("orders")).matches(&foreign));
    assert!(!Selection::all().reason(Reason::Rejected).matches(&foreign));
}

/// What a dead letter says, in the native layout, behind its own fields.
fn native(own: &[(&str, &[u8])], said: &[(&str, &str)]) -> DeadLetter {
    let count = own.len().to_string();
    let own = own
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()));
    let marks = [("redrive-v", "1"), ("redrive-fields", count.as_str())];
    let said = marks
        .iter()
        .chain(said)
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    read(EntryId::new(5_000, 0), own.chain(said).collect())
}

/// A dead letter of which everything is known.
fn known() -> DeadLetter {
    let said = [
        ("redrive-stream", "orders"),
        ("redrive-group", "billing"),
        ("redrive-reason", "rejected"),
        ("redrive-error", "card declined: [E12]\nsee \u{1b}[2Jlog"),
        ("redrive-error-kind", "Declined"),
        ("redrive-fingerprint", "0123456789abcdef"),
        ("redrive-attempts", "3"),
        ("redrive-replays", "2"),
        ("redrive-consumer", "consumer_0a1b2c3d"),
        ("redrive-dead-at", "4000"),
    ];
    native(&[("n", b"1")], &said)
}

fn parsed<T: std::str::FromStr<Err = crate::Error>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
fn each_filter_passes_what_it_says_and_nothing_else() {
    let all = Selection::all;
    let letter = known();
    let consumer = |name| ConsumerName::new(name).unwrap();
    for (passes, fails) in [
        (
            all().error(parsed("declined: [")),
            all().error(parsed("Declined")),
        ),
        (
            all()
                .error_regex(parsed("(?i)^CARD .*\\[e[0-9]+\\]$|x"))
                .error_regex(parsed("(?m)^see")),
            all().error_regex(parsed("^see")),
        ),
        (
            all().error_kind("x").error_kind("Declined"),
            all().error_kind("declined"),
        ),
        (
            all().fingerprint(parsed("0123")),
            all().fingerprint(parsed("0124")),
        ),
        (
            all().fingerprint(parsed("0123456789ABCDEF")),
            all().fingerprint(parsed("123456789abcdef0")),
        ),
        (
            all().consumer(consumer("consumer_0a1b2c3d")),
            all().consumer(consumer("consumer_")),
        ),
        (all().since_ms(4_000), all().since_ms(4_001)),
        (all().before_ms(4_001), all().before_ms(4_000)),
        (
            all().since_ms(9_000).since_ms(4_000),
            all().before_ms(1).before_ms(4_000),
        ),
        (all().attempts(parsed("3")), all().attempts(parsed("2"))),
        (
            all().attempts(parsed(">=3")).replays(parsed("<3")),
            all().attempts(parsed(">3")),
        ),
        (
            all().replays(parsed("<=2")).replays(parsed("7")),
            all().replays(parsed("<2")),
        ),
        (all().field(parsed("n=1")), all().field(parsed("n=2"))),
        (
            all().field(parsed("m=1")).field(parsed("n=1")),
            all().field(parsed("m=1")),
        ),
        (
            all()
                .error(parsed("card"))
                .attempts(parsed("3"))
                .field(parsed("n=1")),
            all()
                .error(parsed("card"))
                .attempts(parsed("3"))
                .field(parsed("n=2")),
        ),
    ] {
        assert!(passes.matches(&letter), "{passes:?}");
        assert!(!fails.matches(&letter), "{fails:?}");
        assert!(!passes.takes_all() && !fails.takes_all());
    }
}

#[test]
fn what_is_unknown_passes_nothing_and_its_id_stands_for_its_death() {
    let foreign = read(EntryId::new(5_000, 0), Fields::from_iter([("error", "no")]));
    let all = Selection::all;
    for fails in [
        all().error(parsed("no")),
        all().error_regex(parsed(".*")),
        all().error_kind(""),
        all().consumer(ConsumerName::new("c").unwrap()),
        all().attempts(parsed(">=0")),
        all().replays(parsed("0")),
    ] {
        assert!(!fails.matches(&foreign), "{fails:?}");
    }
    assert!(all().since_ms(5_000).before_ms(5_001).matches(&foreign));
    assert!(!all().before_ms(5_000).matches(&foreign));
    // A fingerprint is computed where none is stored.
    let begin = foreign.fingerprint[..6].parse().unwrap();
    assert!(all().fingerprint(begin).matches(&foreign));
}

#[test]
fn a_field_is_compared_by_its_bytes_its_text_and_what_it_means() {
    let json = br#"{"id":7,"big":9007199254740993,"p":1.50,"s":"7","t":true,"z":null,
        "items":[{"sku":"a"},{"sku":"\u00e9"}],"a.b":{"":1},"o":{"x":[1,{"y":2}],"w":0},"d":1,"d":2}"#;
    let packed = [
        &[0x82, 0xa2][..],
        b"id",
        &[7, 0xa3],
        b"key",
        &[0xc4, 1, 0xff],
    ]
    .concat();
    let letter = native(
        &[
            ("data", json),
            ("pack", &packed),
            // 42({1: {"$x": 2}})
            ("cbor", b"\xd8\x2a\xa1\x01\xa1\x62$x\x02"),
            ("zero", b"007"),
            ("seven", b"7"),
            ("text", b"a b"),
            ("json", br#""a b""#),
            ("empty", b""),
            ("raw", b"\xff\x00"),
            ("twice", b"1"),
            ("twice", b"2"),
            ("a.b", b"dot"),
            (" =", b"odd"),
        ],
        &[],
    );
    for filter in [
        "data.id=7",
        "data.id=7.0",
        "data.id=70e-1",
        "data.big=9007199254740993",
        "data.p=1.5",
        "data.s=\"7\"",
        "data.t=true",
        "data.z=null",
        "data.items.0.sku=a",
        "data.items.1.sku=é",
        "data.items.1={\"sku\":\"é\"}",
        "data.items[0].sku=a",
        "data.items[1]={\"sku\":\"é\"}",
        "data.\"a.b\".\"\"=1",
        "data.o={ \"w\" : 0, \"x\": [1.0, {\"y\": 2}] }",
        "data.d=2",
        "pack.id=7",
        "cbor.1.$$x=2",
        "cbor={\"$tag\":[42,{\"$map\":[[1,{\"$$x\":2}]]}]}",
        "pack.key={\"$bin\":\"/w==\"}",
        "zero=007",
        "seven=7",
        "seven=7.0",
        "seven=70e-1",
        "text=a b",
        "text=\"a b\"",
        "json=a b",
        "json=\"a b\"",
        "empty=",
        "empty=\"\"",
        "raw={\"$bin\":\"/wA=\"}",
        "twice=1",
        "twice=2",
        "\"a.b\"=dot",
        "\" =\"=odd",
    ] {
        assert!(parsed::<FieldFilter>(filter).matches(&letter), "{filter}");
    }
    for filter in [
        "data.id=8",
        "data.id=\"7\"",
        "data.id=-7",
        "data.big=9007199254740992",
        "data.s=7",
        "data.t=\"true\"",
        "data.z=",
        "data.missing=null",
        "data.items.2.sku=a",
        "data.items.00.sku=a",
        "data.items.-1.sku=a",
        "data.items.\"0\".sku=a",
        "data[0]=7",
        "data.items={\"sku\":\"a\"}",
        "data.items=[{\"sku\":\"a\"}]",
        "data.id.x=7",
        "cbor[1].$$x=2",
        "cbor.2=2",
        "data.d=1",
        "data.o={\"w\":0}",
        "data.o={\"w\":0,\"x\":[1,{\"y\":2}],\"v\":1}",
        "data.o={\"w\":0,\"x\":[1,{\"y\":2},3]}",
        "zero=7",
        "seven=\"7\"",
        "text=a",
        "empty=null",
        "nothing=",
        "text.0=a",
        "redrive-v=1",
    ] {
        assert!(!parsed::<FieldFilter>(filter).matches(&letter), "{filter}");
    }
    let number: FieldFilter = parsed("data.s=7");
    assert!(number.is_no_string() && number.quoted().matches(&letter));
}

#[test]
fn an_envelope_has_its_fields_and_its_payload_is_message_pack() {
    let packed = [&[0x81, 0xa2][..], b"id", &[7]].concat();
    let fields = [
        ("original_stream", &b"orders"[..]),
        ("original_msg_id", b"1-1"),
        ("error", b"rejected: no"),
        ("attempt", b"3"),
        ("data", &packed),
        ("ts", b"17.5"),
        ("trace_id", b""),
    ];
    let fields = fields.map(|(name, value)| (name, value.to_vec()));
    let letter = read(EntryId::new(1, 0), Fields::from_iter(fields));
    for (filter, matches) in [
        ("data.id=7", true),
        ("ts=17.5", true),
        ("ts=17.50", true),
        ("trace_id=", true),
        ("error=rejected: no", false),
    ] {
        assert_eq!(
            parsed::<FieldFilter>(filter).matches(&letter),
            matches,
            "{filter}"
        );
    }
}

#[test]
fn filters_that_are_none_are_refused_with_the_place_and_a_cure() {
    let cure = |refused: crate::Error| {
        assert_eq!(refused.kind(), crate::ErrorKind::Invalid);
        refused.cure().unwrap().to_owned()
    };
    for (filter, words) in [
        ("", "character 1: a part is empty"),
        ("data", "character 5: there is no ="),
        ("=1", "character 1: a part is empty"),
        (".a=1", "character 1: a part is empty"),
        ("data..id=1", "character 6: a part is empty"),
        ("dätä..id=1", "character 6: a part is empty"),
        ("data.=1", "character 6: a part is empty"),
        ("\"a=1", "character 1: the quotes"),
        ("a.\"b\"c=1", "character 6: behind a part comes a dot"),
        ("a.\"\\x\"=1", "character 3: a quoted name is a JSON string"),
        ("a==1", "character 3: one = is enough"),
        ("a!=1", "character 1: there is no other sign than ="),
        ("a.b>=1", "character 3: there is no other sign than ="),
        ("a.b+=1", "character 3: there is no other sign than ="),
        ("a.b\"=1", "character 4: behind a part comes a dot"),
        ("a.items[3=1", "character 8: the [ that begins here"),
        ("a.items[x]=1", "character 9: in [] stands which item"),
        ("a.items[3]b=1", "character 11: behind a part comes a dot"),
        ("é.$ref=1", "character 3: a key begins with a single $"),
        ("a.b\nc=1", "character 3: a part holds a control character"),
        ("a = 1", "character 1: a part begins or ends with a space"),
    ] {
        let cure = cure(filter.parse::<FieldFilter>().unwrap_err());
        assert!(cure.contains(words), "{filter}: {cure}");
        assert!(cure.ends_with("such as data.customer.id=7"), "{cure}");
    }
    for (regex, words) in [
        ("", "it is empty"),
        ("a(b", "unclosed group at character 2; write \\"),
        ("é[", "unclosed character class at character 2"),
        ("a\n(b", "unclosed group"),
        ("*", "repetition operator missing expression at character 1"),
        ("(?:a{1000}){1000}", "more than 1 MiB"),
        ("(?:(?:(?:\\w{64}){64}){64}){64}", "more than 1 MiB"),
        (&"(".repeat(5_000), "write \\"),
        (&format!("{}{}", "(".repeat(200), ")".repeat(200)), "nest"),
        ("(?=a)", "look-around"),
    ] {
        let cure = cure(regex.parse::<ErrorRegex>().unwrap_err());
        assert!(
            cure.contains(words) && !cure.contains('\n'),
            "{regex}: {cure}"
        );
    }
    cure("".parse::<ErrorText>().unwrap_err());
    for number in [
        "",
        "-1",
        "+1",
        "1.5",
        "> 1",
        "=1",
        "=>1",
        "==1",
        "18446744073709551616",
        "٣",
    ] {
        cure(number.parse::<CountFilter>().unwrap_err());
    }
    for fingerprint in ["", "012", "01234567890abcdef", "012g", "é123"] {
        cure(fingerprint.parse::<FingerprintPrefix>().unwrap_err());
    }
}

/// What makes engines that go back slow: each takes a moment here.
#[test]
fn hostile_patterns_take_no_longer_than_others() {
    let error = "a".repeat(8_192);
    let began = std::time::Instant::now();
    for regex in [
        "(a+)+$b",
        "(a|aa)+b",
        "(a|a?)+b",
        "(.*a){20}b",
        "(?:a?){100}a{100}b",
    ] {
        assert!(!parsed::<ErrorRegex>(regex).matches(&error), "{regex}");
    }
    // For all together, for a debug build on a busy machine: going back takes for ever.
    assert!(began.elapsed() < std::time::Duration::from_secs(60));
}
