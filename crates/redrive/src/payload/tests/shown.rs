//! Tests: examples of every codec, as they are shown and put back.

use super::super::MOST_BYTES;
use super::super::compression::Compression;
use super::*;
use Encoding::{Cbor, Json, MessagePack, Raw, Text};

#[test]
fn what_it_is_is_found_out_the_strictest_first() {
    let cases: [(&[u8], &str, &str); 21] = [
        (
            b" {\"b\": 1,\n \"a\": [1.50, 1E400]} ",
            "json",
            r#"{"b":1,"a":[1.50,1E400]}"#,
        ),
        (
            b"12345678901234567890123",
            "json",
            "12345678901234567890123",
        ),
        (br#"{"a":1,"a":2}"#, "json", r#"{"a":1,"a":2}"#),
        (
            br#"{"$a":1,"\u0024b":{"$$c":"$d"}}"#,
            "json",
            r#"{"$$a":1,"$\u0024b":{"$$$c":"$d"}}"#,
        ),
        (br#"["a:b,\"c\\", "d" ]"#, "json", r#"["a:b,\"c\\","d"]"#),
        (b"\"\x7f\"", "json", "\"\x7f\""),
        (b"a", "text", "\"a\""),
        // A text of CBOR and a tagged map, by their bytes.
        (b"ehello", "text", "\"ehello\""),
        ("\u{e0}".as_bytes(), "text", "\"\u{e0}\""),
        (b"{\"cut\": ", "text", r#""{\"cut\": ""#),
        (b" ", "text", "\" \""),
        (b"\x1b[31mred\x1b[0m", "text", r#""\u001b[31mred\u001b[0m""#),
        (b"\x05", "msgpack", "5"),
        (b"\xc0", "msgpack", "null"),
        (b"\x82\xa1b\x01\xa1a\x90", "msgpack", r#"{"b":1,"a":[]}"#),
        (b"\xa2\x61b\x01\x61a\x80", "cbor", r#"{"b":1,"a":[]}"#),
        (b"\xff\xfe\xc1", "raw", r#"{"$bin":"//7B"}"#),
        // One value and a byte more; an array that is cut; a text that is not UTF-8.
        (b"\x90\xc1", "raw", r#"{"$bin":"kME="}"#),
        (b"\x92\x01", "raw", r#"{"$bin":"kgE="}"#),
        (b"\xa1\xff", "raw", r#"{"$bin":"of8="}"#),
        (
            b"\x1f\x8b\x08 damaged",
            "raw",
            r#"{"$bin":"H4sIIGRhbWFnZWQ="}"#,
        ),
    ];
    for (bytes, codec, form) in cases {
        assert_eq!(looked(bytes), (codec, form.to_owned()));
    }
}

#[test]
fn message_pack_is_shown_exactly() {
    let cases: [(&[u8], &str); 14] = [
        (
            b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
            "18446744073709551615",
        ),
        (
            b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
            "-9223372036854775808",
        ),
        (b"\x91\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", "[1.0]"),
        (b"\x91\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "[-0.0]"),
        (b"\x91\xcb\x44\xb5\x2d\x02\xc7\xe1\x4a\xf6", "[1e23]"),
        (
            b"\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
            r#"[{"$float":"nan"}]"#,
        ),
        (
            b"\x91\xcb\xff\xf0\x00\x00\x00\x00\x00\x00",
            r#"[{"$float":"-inf"}]"#,
        ),
        (b"\x91\xc4\x02\x00\xff", r#"[{"$bin":"AP8="}]"#),
        (
            b"\x91\xd6\xff\x00\x00\x00\x01",
            r#"[{"$ext":[-1,"AAAAAQ=="]}]"#,
        ),
        (b"\x81\x01\xa1a", r#"{"$map":[[1,"a"]]}"#),
        (b"\x82\xa1a\x01\xa1a\x02", r#"{"$map":[["a",1],["a",2]]}"#),
        (
            b"\x82\xa1a\x81\xc0\xc0\xa1b\x80",
            r#"{"a":{"$map":[[null,null]]},"b":{}}"#,
        ),
        (b"\x81\xa4$bin\xa1a", r#"{"$$bin":"a"}"#),
        (b"\x91\xa2\"\n", r#"["\"\n"]"#),
    ];
    for (bytes, form) in cases {
        assert_eq!(looked(bytes), ("msgpack", form.to_owned()));
        assert_eq!(back(form, MessagePack).as_deref(), Ok(bytes), "{form}");
    }
    // A float of 32 bits is shown as the number that it is, and comes back with 64.
    assert_eq!(
        looked(b"\x91\xca\x3d\xcc\xcc\xcd").1,
        "[0.10000000149011612]"
    );
    let wide = b"\x91\xcb\x3f\xb9\x99\x99\xa0\x00\x00\x00";
    assert_eq!(
        back("[0.10000000149011612]", MessagePack).as_deref(),
        Ok(&wide[..])
    );
}

#[test]
fn cbor_is_shown_exactly() {
    let same: [(&[u8], &str); 12] = [
        (
            b"\x81\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
            "[-18446744073709551616]",
        ),
        (
            b"\x81\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
            "[18446744073709551615]",
        ),
        (
            b"\x83\xf9\x3e\x00\xfa\x47\xc3\x50\x00\xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a",
            "[1.5,100000.0,0.1]",
        ),
        (
            b"\x83\xf9\x7e\x00\xf9\x7c\x00\xf9\xfc\x00",
            r#"[{"$float":"nan"},{"$float":"inf"},{"$float":"-inf"}]"#,
        ),
        (
            b"\x82\xf9\x80\x00\xf9\x00\x01",
            "[-0.0,5.960464477539063e-8]",
        ),
        (b"\x81\x42\x00\xff", r#"[{"$bin":"AP8="}]"#),
        (b"\xa1\x01\x61a", r#"{"$map":[[1,"a"]]}"#),
        (b"\xa2\x61a\x01\x61a\x02", r#"{"$map":[["a",1],["a",2]]}"#),
        (b"\x81\xc2\x41\x01", r#"[{"$tag":[2,{"$bin":"AQ=="}]}]"#),
        (
            b"\x83\xf7\xf0\xf8\xff",
            r#"[{"$simple":23},{"$simple":16},{"$simple":255}]"#,
        ),
        (b"\x83\xf4\xf5\xf6", "[false,true,null]"),
        (b"\xd9\xd9\xf7\xa0", r#"{"$tag":[55799,{}]}"#),
    ];
    for (bytes, form) in same {
        let shown = show(bytes, Cbor).unwrap();
        assert_eq!(shown.get(), form);
        assert_eq!(back(form, Cbor).as_deref(), Ok(bytes), "{form}");
    }
    // Lengths that come at the end, and floats longer than they need be.
    let rewritten: [(&[u8], &str, &[u8]); 4] = [
        (
            b"\x9f\x01\xbf\x61a\x9f\xff\xff\xff",
            r#"[1,{"a":[]}]"#,
            b"\x82\x01\xa1\x61a\x80",
        ),
        (
            b"\x82\x7f\x61a\x61b\xff\x5f\x41a\x41b\xff",
            r#"["ab",{"$bin":"YWI="}]"#,
            b"\x82\x62ab\x42ab",
        ),
        (b"\xbf\x7f\x61a\xff\x01\xff", r#"{"a":1}"#, b"\xa1\x61a\x01"),
        (
            b"\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00",
            "1.5",
            b"\xf9\x3e\x00",
        ),
    ];
    for (bytes, form, shorter) in rewritten {
        let shown = show(bytes, Cbor).unwrap();
        assert_eq!(shown.get(), form);
        assert_eq!(back(form, Cbor).as_deref(), Ok(shorter), "{form}");
    }
    let malformed: [&[u8]; 7] = [
        b"\xff",
        b"\x81\xff",
        b"\xbf\x01\xff",
        b"\xf8\x10",
        b"\x7f\x41a\xff",
        b"\xc2",
        b"\x1c",
    ];
    for bytes in malformed {
        assert_eq!(show(bytes, Cbor).err(), Some(Flaw::Other), "{bytes:?}");
    }
}

#[test]
fn what_a_codec_cannot_hold_is_refused_in_words_without_the_payload() {
    let cases = [
        (r#"{"a":{"$bin":"AA=="}}"#, Json, "JSON cannot hold binary"),
        (
            r#"{"\u0024ext":1}"#,
            Json,
            "JSON cannot hold an object whose key begins with a single $",
        ),
        (
            r#"{"a":1,"$b":2}"#,
            MessagePack,
            "a key that begins with a single $ (write $$ for one)",
        ),
        (
            r#"{"$secret":2}"#,
            Cbor,
            "a key that begins with a single $ (write $$ for one)",
        ),
        (
            r#"{"$bin":"secret"}"#,
            MessagePack,
            "binary that is not base64",
        ),
        (
            r#"{"$bin":1}"#,
            MessagePack,
            "$bin, $ext, $map, $tag, $simple or $float of another shape",
        ),
        (
            r#"{"$map":[[1]]}"#,
            MessagePack,
            "$bin, $ext, $map, $tag, $simple or $float of another shape",
        ),
        (
            r#"{"$ext":[200,""]}"#,
            MessagePack,
            "$bin, $ext, $map, $tag, $simple or $float of another shape",
        ),
        (r#"{"$tag":[2,1]}"#, MessagePack, "MessagePack has no tags"),
        (
            r#"{"$simple":23}"#,
            MessagePack,
            "MessagePack has no simple values",
        ),
        (
            r#"{"$simple":24}"#,
            Cbor,
            "a simple value that CBOR does not have",
        ),
        (
            r#"{"$ext":[1,""]}"#,
            Cbor,
            "CBOR has no extensions of MessagePack's kind",
        ),
        (
            "18446744073709551616",
            MessagePack,
            "an integer beyond 64 bits",
        ),
        (
            "-9223372036854775809",
            MessagePack,
            "an integer beyond 64 bits",
        ),
        ("18446744073709551616", Cbor, "an integer beyond 64 bits"),
        ("1e999", Cbor, "a number beyond a 64-bit float"),
        (r#""\ud800""#, MessagePack, "text that is not Unicode"),
        ("1", Text, "a text must stay a string"),
        (r#""a""#, Raw, "raw bytes must stay one {\"$bin\":…}"),
    ];
    for (form, encoding, expected) in cases {
        assert_eq!(back(form, encoding), Err(expected), "{form}");
    }
}

#[test]
fn a_form_may_be_written_in_any_way_that_json_allows() {
    let form = " { \"\\u0024\\u0024a\" : [ 1 , { \"$map\" : [ [ 1 , { } ] ] } ] , \"b\\n\" : \"\\u00e9\" } ";
    let expected = "\u{82}";
    assert_eq!(expected.len(), 2);
    let packed = back(form, MessagePack).unwrap();
    assert_eq!(packed, b"\x82\xa2$a\x92\x01\x81\x01\x80\xa2b\n\xa2\xc3\xa9");
    let form = "{ \"\\u0024\\u0024a\" : [ 1.50 , \" \" ] }";
    assert_eq!(back(form, Json).unwrap(), br#"{"\u0024a":[1.50," "]}"#);
}

#[test]
fn compressed_payloads_are_unpacked_and_packed_again_the_same_way() {
    let inner: &[u8] = b"\x81\xa1a\xc4\x01\xff";
    for (compression, name) in [
        (Compression::Gzip, "gzip+msgpack"),
        (Compression::Zstd, "zstd+msgpack"),
    ] {
        let packed = compression.pack(inner).unwrap();
        let (found, form) = look(&packed).unwrap();
        assert_eq!(
            (found.as_str(), form.get()),
            (name, r#"{"a":{"$bin":"/w=="}}"#)
        );
        let again = restore(&form, found).unwrap();
        assert_eq!(Compression::of(&again), Some(compression));
        assert_eq!(compression.unpack(&again).as_deref(), Ok(inner));

        // Two members, as the formats allow; then something that is none.
        let two = [packed.clone(), packed.clone()].concat();
        assert_eq!(compression.unpack(&two), Ok([inner, inner].concat()));
        let and_more = [&packed[..], b"?"].concat();
        assert_eq!(looked(&and_more).0, "raw");
        let mut damaged = packed.clone();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        assert_eq!(looked(&damaged).0, "raw", "{name}");
        assert_eq!(looked(&packed[..last]).0, "raw");
    }
}

/// A zstd frame of blocks of 128 KiB, each one byte again and again.
fn repeated(blocks: usize) -> Vec<u8> {
    let mut frame = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
    for block in 1..=blocks {
        let last = u8::from(block == blocks);
        frame.extend([0x02 | last, 0x00, 0x10, b'0']);
    }
    frame
}

#[test]
fn what_unpacks_to_more_than_64_mib_is_not_decoded() {
    let bomb = repeated(513);
    assert_eq!(Compression::Zstd.unpack(&bomb), Err(Flaw::TooLarge));
    assert!(look(&bomb).is_none());
    let fits = Compression::Zstd.unpack(&repeated(512)).unwrap();
    assert_eq!(fits.len(), MOST_BYTES);

    let more = vec![b'0'; MOST_BYTES + 1];
    let bomb = Compression::Gzip.pack(&more).unwrap();
    assert!(bomb.len() < 1024 * 1024);
    assert!(look(&bomb).is_none());
    // A window of terabytes.
    assert_eq!(looked(b"\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00").0, "raw");
}

#[test]
fn a_form_of_more_than_64_mib_is_not_made() {
    let mut binary = b"\xc6\x03\x00\x00\x00".to_vec();
    binary.resize(5 + 0x0300_0000, 0xff);
    assert_eq!(show(&binary, MessagePack).err(), Some(Flaw::TooLarge));
    assert!(look(&binary).is_none());
    let mut text = b"\xdb\x00\xb0\x00\x00".to_vec();
    text.resize(5 + 0x00b0_0000, 0x01);
    assert_eq!(show(&text, MessagePack).err(), Some(Flaw::TooLarge));
}

#[test]
fn a_header_that_announces_billions_costs_nothing() {
    let headers: [&[u8]; 8] = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for header in headers {
        assert_eq!(looked(header).0, "raw");
    }
}

#[test]
fn nesting_is_followed_128_levels_deep() {
    let nested = |open: u8, levels: usize| -> Vec<u8> { vec![open; levels] };
    for (open, leaf, encoding) in [
        (0x91, 0x01, MessagePack),
        (0x81, 0x01, Cbor),
        (0xc1, 0x01, Cbor),
    ] {
        let mut fits = nested(open, 128);
        fits.push(leaf);
        let form = show(&fits, encoding).unwrap();
        assert_eq!(restore(&form, codec(encoding)), Ok(fits));
        let mut deeper = nested(open, 129);
        deeper.push(leaf);
        assert_eq!(show(&deeper, encoding).err(), Some(Flaw::Other));
        assert_eq!(
            show(&nested(open, 1_000_000), encoding).err(),
            Some(Flaw::Other)
        );
    }
    let json = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
    assert_eq!(looked(json(128).as_bytes()), ("json", json(128)));
    assert_eq!(looked(json(129).as_bytes()).0, "text");
    assert_eq!(back(&json(129), MessagePack), Err("nested deeper than 128"));
    assert_eq!(looked(json(1_000_000).as_bytes()).0, "text");
}
