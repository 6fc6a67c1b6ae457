use super::*;
use proptest::prelude::*;

fn text(text: &str) -> Scalar {
    Scalar::Text(Kind::Text, text.to_owned())
}

fn said(text: &str) -> String {
    parse(text).map_or_else(|e| e.to_string(), |value| panic!("{text}: {value:?}"))
}

#[test]
fn a_number_without_a_type_is_an_int32() {
    let number = |text| match parse(text) {
        Ok(Variant::One(Scalar::Integer(Kind::Int32, n))) => n,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!([number("15"), number(" -1\t"), number("+7"), number("0")], [15, -1, 7, 0]);
    assert_eq!([number("0x1F"), number("-0X10"), number("010")], [31, -16, 8]);
    assert_eq!([number("2147483647"), number("-2147483648")], [i32::MAX.into(), i32::MIN.into()]);
    let untyped = "`2147483648` does not fit into int32, which a number without a type is";
    assert_eq!(said("2147483648"), untyped);
}

#[test]
fn a_type_in_front_is_the_numbers_type() {
    let one = |text: &str| parse(text).unwrap();
    let integer = |kind, n| Variant::One(Scalar::Integer(kind, n));
    assert_eq!(one("uint64 10000000"), integer(Kind::Uint64, 10_000_000));
    assert_eq!(one("@t 18446744073709551615"), integer(Kind::Uint64, u64::MAX.into()));
    assert_eq!(one("byte 0xff"), integer(Kind::Byte, 255));
    assert_eq!(one("int64 -9223372036854775808"), integer(Kind::Int64, i64::MIN.into()));
    assert_eq!(one("double 5"), Variant::One(Scalar::Double(5.0)));
    assert_eq!(one("1.5e1"), Variant::One(Scalar::Double(15.0)));
    assert_eq!(one(".5"), Variant::One(Scalar::Double(0.5)));
    for (kind, keyword, letter) in KINDS {
        let literal = match kind {
            Kind::Boolean => "true",
            Kind::Text | Kind::ObjectPath | Kind::Signature => "'/a'",
            _ => "1",
        };
        assert_eq!(one(&format!("{keyword} {literal}")), one(&format!("@{letter} {literal}")), "{keyword}");
    }
}

#[test]
fn a_number_out_of_its_types_range_is_refused() {
    for (keyword, number) in [
        ("byte", "256"),
        ("byte", "-1"),
        ("int16", "32768"),
        ("uint16", "65536"),
        ("uint32", "4294967296"),
        ("int64", "9223372036854775808"),
        ("uint64", "-1"),
        ("uint64", "18446744073709551616"),
        ("uint64", "999999999999999999999999999999999999999999999999999"),
        ("double", "1e999"),
    ] {
        assert_eq!(said(&format!("{keyword} {number}")), format!("`{number}` does not fit into {keyword}"));
    }
}

#[test]
fn text_stands_in_quotes_and_has_escapes() {
    let one = |written| match parse(written) {
        Ok(Variant::One(Scalar::Text(Kind::Text, text))) => text,
        other => panic!("{written}: {other:?}"),
    };
    assert_eq!(one("'inactive-or-failed'"), "inactive-or-failed");
    assert_eq!(one("\"it's\""), "it's");
    assert_eq!(one(r#"'a\'b"c'"#), "a'b\"c");
    assert_eq!(one(r"'\a\b\f\n\r\t\v\\\q'"), "\u{7}\u{8}\u{c}\n\r\t\u{b}\\q");
    assert_eq!(one("'a\\\nb'"), "ab");
    assert_eq!(one(r"'\u00e4\U0001f600'"), "ä😀");
    assert_eq!(one("''"), "");
    assert_eq!(parse("objectpath '/a'"), Ok(Variant::One(Scalar::Text(Kind::ObjectPath, "/a".into()))));
}

#[test]
fn booleans_are_words() {
    assert_eq!(parse("true"), Ok(Variant::One(Scalar::Boolean(true))));
    assert_eq!(parse("boolean false"), Ok(Variant::One(Scalar::Boolean(false))));
}

#[test]
fn elements_of_an_array_are_of_one_type() {
    let texts = Ok(Variant::Many(Kind::Text, vec![text("a"), text("b")]));
    assert_eq!(parse("['a', \"b\"]"), texts);
    assert_eq!(parse(" [ 'a' , 'b' ] "), texts);
    assert_eq!(parse("@as ['a','b']"), texts);
    assert_eq!(parse("@as []"), Ok(Variant::Many(Kind::Text, vec![])));
    assert_eq!(parse("@as[]"), Ok(Variant::Many(Kind::Text, vec![])));
    let bytes = [1, 255].map(|n| Scalar::Integer(Kind::Byte, n)).to_vec();
    for written in ["[byte 1, 0xff]", "@ay [1, 255]", "[1, byte 255]", "@ay [byte 1, 255]"] {
        assert_eq!(parse(written), Ok(Variant::Many(Kind::Byte, bytes.clone())), "{written}");
    }
    let doubles = [1.0, 2.5].map(Scalar::Double).to_vec();
    assert_eq!(parse("[1, 2.5]"), Ok(Variant::Many(Kind::Double, doubles)));
}

#[test]
fn what_is_no_value_says_why() {
    for (written, why) in [
        ("", "it ends where a value should follow"),
        ("uint64", "it ends where a value should follow"),
        ("uint64 uint64 5", "`uint64` is no value (text stands in quotes)"),
        ("yes", "`yes` is no value (text stands in quotes)"),
        ("infinity", "`infinity` is no value (text stands in quotes)"),
        ("15 16", "'1' stands where its end should"),
        ("true,", "',' stands where its end should"),
        ("'a' 'b'", "'\\'' stands where its end should"),
        ("*", "'*' stands where a value should"),
        ("'a", "it ends where a closing quote should follow"),
        ("'a\\", "it ends where an escaped character should follow"),
        (r"'\u12'", r"`\u` in a text stands for no character"),
        (r"'\ud800'", r"`\ud800` in a text stands for no character"),
        (r"'\u+123'", r"`\u` in a text stands for no character"),
        (r"'\u0000'", "a text holds a NUL byte"),
        ("'a\0'", "a text holds a NUL byte"),
        ("'a\\\0'", "a text holds a NUL byte"),
        ("09", "`09` is no number"),
        ("12ab", "`12ab` is no number"),
        ("0x", "`0x` is no number"),
        ("-", "`-` is no number"),
        ("--1", "`--1` is no number"),
        ("1.2.3", "`1.2.3` is no number"),
        ("double 0x10", "`0x10` is no number"),
        ("double -inf", "`-inf` is no number"),
        ("uint64 1.5", "a value of type uint64 is needed, and `1.5` is none"),
        ("uint64 '5'", "a value of type uint64 is needed, and `5` is none"),
        ("string 5", "a value of type string is needed, and `5` is none"),
        ("uint64 true", "a value of type uint64 is needed, and `true` is none"),
        ("uint64 [1]", "a value of type uint64 is needed, and `[` is none"),
        ("@as 'a'", "'\\'' stands where `[` should"),
        ("[]", "an empty array needs a type, as in `@as []`"),
        ("['a'", "it ends where `,` or `]` should follow"),
        ("['a' 'b']", "'\\'' stands where `,` or `]` should"),
        ("['a',]", "']' stands where a value should"),
        ("[,]", "',' stands where a value should"),
        ("['a', 5]", "a value of type string is needed, and `5` is none"),
        ("[byte 1, uint32 2]", "a value of type byte is needed, and `uint32` is none"),
        ("@aas []", "type `@aas` is not supported"),
        ("@a(ss) []", "type `@a(ss)` is not supported"),
        ("@ 5", "type `@` is not supported"),
        ("[['a']]", "arrays inside arrays are not supported"),
        ("[@as ['a']]", "arrays inside arrays are not supported"),
        ("('a', 1)", "tuples are not supported"),
        ("{'a': 1}", "dictionaries are not supported"),
        ("<1>", "variants are not supported"),
        ("b'a'", "byte strings are not supported"),
        ("just 5", "maybes are not supported"),
    ] {
        assert_eq!(said(written), why, "{written}");
    }
}

#[test]
fn depth_costs_no_stack() {
    for open in ["[", "(", "<", "{", "@a", "uint64 "] {
        assert!(parse(&open.repeat(100_000)).is_err(), "{open}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn almost_a_value_is_one_or_an_error(text in r#"[\]\[@a-z0-9 '"\\,.+(){}<>uUxe\-]{0,40}"#) {
        let _ = parse(&text);
    }

    #[test]
    fn numbers_and_texts_are_what_was_written(n: u64, words in proptest::collection::vec("[^'\\\\\0]{0,9}", 1..5)) {
        let number = Scalar::Integer(Kind::Uint64, n.into());
        prop_assert_eq!(parse(&format!("uint64 {n}")), Ok(Variant::One(number)));
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let texts = words.iter().map(|word| text(word)).collect();
        prop_assert_eq!(parse(&format!("[{}]", quoted.join(", "))), Ok(Variant::Many(Kind::Text, texts)));
    }
}
