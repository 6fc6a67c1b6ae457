//! Properties of a unit that a document gives in its annotations: `org.systemd.property.NAME`, with a value in the text
//! format of GVariant. Pure.
//!
//! The rules are those of runc's docs/systemd.md. podman says in this way by which signal, and after which time by force,
//! systemd is to stop a container. Two properties are refused, because they say where the container is: with another
//! slice or other processes the unit would not be the one that its record names.

use super::gvariant::{self, Kind, Scalar, Variant};
use super::message::{Property, Value};
use crate::spec::SpecError;
use std::collections::BTreeMap;

/// What the names of such annotations begin with.
pub const PREFIX: &str = "org.systemd.property.";

const OURS: [&str; 2] = ["Slice", "PIDs"];
const PER_SECOND: u32 = 1_000_000;

/// The properties that annotations give, in the order of their names.
pub fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>, SpecError> {
    let ours = annotations.iter().filter_map(|(key, text)| Some((key, key.strip_prefix(PREFIX)?, text)));
    ours.map(|(key, name, text)| {
        let field = || format!("annotations[{}]", key.escape_debug());
        property(name, text).map_err(|problem| SpecError { field: field(), problem })
    })
    .collect()
}

fn property(name: &str, text: &str) -> Result<Property, String> {
    if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(format!("{name:?} is not the name of a property, which is of three letters or more"));
    }
    if OURS.contains(&name) {
        return Err(format!("`{name}` is set by the runtime alone: linux.cgroupsPath says where the container is"));
    }
    let wrong = |problem: String| format!("the value {text:?}: {problem}");
    let variant = gvariant::parse(text).map_err(|e| wrong(e.to_string()))?;
    // systemd's own tools say seconds where the property itself has microseconds.
    match name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase())) {
        Some(stem) => {
            let time = microseconds(&variant).map_err(wrong)?;
            Ok((format!("{stem}USec"), Value::U64(time)))
        }
        None => Ok((name.to_owned(), value(&variant).map_err(wrong)?)),
    }
}

fn microseconds(seconds: &Variant) -> Result<u64, String> {
    let time = match seconds {
        Variant::One(Scalar::Integer(kind, n)) if *kind != Kind::Handle => {
            u64::try_from(*n).ok().and_then(|n| n.checked_mul(PER_SECOND.into()))
        }
        Variant::One(Scalar::Double(n)) => {
            let time = (n * f64::from(PER_SECOND)).round();
            // The end of the range is the first number that is too large.
            (0.0..u64::MAX as f64).contains(&time).then_some(time as u64)
        }
        _ => return Err("a number of seconds is needed".into()),
    };
    time.ok_or_else(|| format!("seconds are from 0 to {}", u64::MAX / u64::from(PER_SECOND)))
}

/// As a value of a property, if properties have such values.
fn value(variant: &Variant) -> Result<Value, String> {
    fn all<T>(elements: &[Scalar], one: impl Fn(&Scalar) -> Option<T>) -> Option<Vec<T>> {
        elements.iter().map(one).collect()
    }
    fn number<T: TryFrom<i128>>(scalar: &Scalar) -> Option<T> {
        if let Scalar::Integer(_, n) = scalar { T::try_from(*n).ok() } else { None }
    }
    let text = |scalar: &Scalar| if let Scalar::Text(_, text) = scalar { Some(text.clone()) } else { None };
    let (kind, found) = match variant {
        Variant::One(Scalar::Boolean(truth)) => (Kind::Boolean, Some(Value::Bool(*truth))),
        Variant::One(Scalar::Double(_)) => (Kind::Double, None),
        Variant::One(scalar @ (Scalar::Integer(kind, _) | Scalar::Text(kind, _))) => {
            let found = match kind {
                Kind::Int32 => number(scalar).map(Value::I32),
                Kind::Uint32 => number(scalar).map(Value::U32),
                Kind::Uint64 => number(scalar).map(Value::U64),
                Kind::Text => text(scalar).map(Value::Text),
                _ => None,
            };
            (*kind, found)
        }
        Variant::Many(kind, elements) => {
            let found = match kind {
                Kind::Byte => all(elements, number).map(Value::Bytes),
                Kind::Uint32 => all(elements, number).map(Value::U32s),
                Kind::Text => all(elements, text).map(Value::Texts),
                _ => None,
            };
            (*kind, found)
        }
    };
    found.ok_or_else(|| match variant {
        Variant::One(_) => format!("no property of a scope is of type {}", kind.keyword()),
        Variant::Many(..) => format!("no property of a scope is an array of type {}", kind.keyword()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Vec<Property>, SpecError> {
        properties(&pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect())
    }

    fn value_of(name: &str, text: &str) -> (String, Value) {
        let mut found = of(&[(&format!("{PREFIX}{name}"), text)]).unwrap_or_else(|e| panic!("{name}={text}: {e}"));
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    fn problem(name: &str, text: &str) -> String {
        let e = of(&[(&format!("{PREFIX}{name}"), text)]).expect_err(text);
        assert_eq!(e.field, format!("annotations[{PREFIX}{name}]"));
        e.problem
    }

    #[test]
    fn podmans_annotations_are_properties_and_others_are_not() {
        let given = [
            ("io.podman.annotations.init", "FALSE"),
            ("org.systemd.property", "x"),
            ("org.systemd.property.KillSignal", "15"),
            ("org.systemd.property.TimeoutStopUSec", "uint64 10000000"),
            ("x.org.systemd.property.CollectMode", "'inactive-or-failed'"),
        ];
        let expected =
            [("KillSignal".to_owned(), Value::I32(15)), ("TimeoutStopUSec".to_owned(), Value::U64(10_000_000))];
        assert_eq!(of(&given).unwrap(), expected);
    }

    #[test]
    fn each_type_that_properties_have_is_carried() {
        let value = |text| value_of("Property", text).1;
        assert_eq!(value("true"), Value::Bool(true));
        assert_eq!(value("-1"), Value::I32(-1));
        assert_eq!(value("uint32 7"), Value::U32(7));
        assert_eq!(value("@t 7"), Value::U64(7));
        assert_eq!(value("'inactive-or-failed'"), Value::Text("inactive-or-failed".into()));
        assert_eq!(value("['a.service', \"b.mount\"]"), Value::Texts(vec!["a.service".into(), "b.mount".into()]));
        assert_eq!(value("@as []"), Value::Texts(vec![]));
        assert_eq!(value("[byte 0x03, 0x10]"), Value::Bytes(vec![3, 16]));
        assert_eq!(value("@au [1, 2]"), Value::U32s(vec![1, 2]));
    }

    #[test]
    fn types_that_no_property_has_are_refused_by_name() {
        for (text, kind) in [
            ("byte 1", "byte"),
            ("int16 1", "int16"),
            ("uint16 1", "uint16"),
            ("int64 1", "int64"),
            ("handle 1", "handle"),
            ("1.5", "double"),
            ("objectpath '/a'", "objectpath"),
            ("signature 's'", "signature"),
        ] {
            let expected = format!("the value {text:?}: no property of a scope is of type {kind}");
            assert_eq!(problem("Property", text), expected);
        }
        let expected = "the value \"[1, 2]\": no property of a scope is an array of type int32";
        assert_eq!(problem("Property", "[1, 2]"), expected);
    }

    #[test]
    fn seconds_become_microseconds() {
        let second = |text| value_of("TimeoutStopSec", text);
        let expected = |time| ("TimeoutStopUSec".to_owned(), Value::U64(time));
        for text in ["2", "byte 2", "int16 2", "uint16 2", "int64 2", "uint64 2", "2.0", "double 2"] {
            assert_eq!(second(text), expected(2_000_000), "{text}");
        }
        assert_eq!(second("1.5"), expected(1_500_000));
        assert_eq!(second("0.29"), expected(290_000));
        assert_eq!(second("0"), expected(0));
        // Microseconds already.
        assert_eq!(value_of("TimeoutStopUSec", "uint64 2"), expected(2));
        assert_eq!(value_of("RunSec", "3").0, "RunUSec");
        assert_eq!(value_of("FooSEC", "3").0, "FooSEC");
        assert_eq!(value_of("Sec", "3").0, "Sec");
    }

    #[test]
    fn seconds_that_are_no_time_are_refused() {
        for text in ["'2'", "true", "[2]", "handle 2"] {
            let expected = format!("the value {text:?}: a number of seconds is needed");
            assert_eq!(problem("TimeoutStopSec", text), expected);
        }
        for text in ["-1", "-0.5", "uint64 18446744073710", "double 1.8446744073709552e13", "1e300"] {
            let expected = format!("the value {text:?}: seconds are from 0 to 18446744073709");
            assert_eq!(problem("TimeoutStopSec", text), expected);
        }
    }

    #[test]
    fn a_name_is_of_letters() {
        for name in ["", "ab", "CPU1", "Kill Signal", "KillSignal\n", "Kïll", "a.b.c"] {
            let e = of(&[(&format!("{PREFIX}{name}"), "15")]).unwrap_err();
            let expected = format!("{name:?} is not the name of a property, which is of three letters or more");
            assert_eq!(e.problem, expected);
        }
        let e = of(&[(&format!("{PREFIX}\u{1b}[2J"), "15")]).unwrap_err();
        assert!(!e.to_string().contains('\u{1b}'), "{e:?}");
    }

    #[test]
    fn where_the_container_is_cannot_be_said() {
        for (name, text) in [("Slice", "'other.slice'"), ("PIDs", "[uint32 1]")] {
            assert!(problem(name, text).contains("linux.cgroupsPath"), "{name}");
        }
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_wrong() {
        let e = of(&[("org.systemd.property.TimeoutStopUSec", "uint64 x")]).unwrap_err();
        let expected = "config.json: annotations[org.systemd.property.TimeoutStopUSec]: the value \"uint64 x\": \
                        `x` is no value (text stands in quotes)";
        assert_eq!(e.to_string(), expected);
    }
}
