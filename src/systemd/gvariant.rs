//! The text format of GVariant, in which annotations give properties their values. Pure.
//!
//! Read are booleans, numbers, texts, and arrays of one of these, by the rules of the format: a number without a type is
//! an `int32`, or a `double` when it is written as one; `uint64 5` and `@t 5` say another type; one element of an array
//! that says its type says it for all; text stands in single or double quotes. Tuples, dictionaries, variants, maybes,
//! byte strings and arrays of arrays are refused: no caller needs them, and without them nothing here calls itself.

/// A type that is not made of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `b`
    Boolean,
    /// `y`
    Byte,
    /// `n`
    Int16,
    /// `q`
    Uint16,
    /// `i`
    Int32,
    /// `u`
    Uint32,
    /// `x`
    Int64,
    /// `t`
    Uint64,
    /// `h`, an index of a descriptor
    Handle,
    /// `d`
    Double,
    /// `s`
    Text,
    /// `o`
    ObjectPath,
    /// `g`
    Signature,
}

/// Each with its keyword and its letter.
const KINDS: [(Kind, &str, char); 13] = [
    (Kind::Boolean, "boolean", 'b'),
    (Kind::Byte, "byte", 'y'),
    (Kind::Int16, "int16", 'n'),
    (Kind::Uint16, "uint16", 'q'),
    (Kind::Int32, "int32", 'i'),
    (Kind::Uint32, "uint32", 'u'),
    (Kind::Int64, "int64", 'x'),
    (Kind::Uint64, "uint64", 't'),
    (Kind::Handle, "handle", 'h'),
    (Kind::Double, "double", 'd'),
    (Kind::Text, "string", 's'),
    (Kind::ObjectPath, "objectpath", 'o'),
    (Kind::Signature, "signature", 'g'),
];

impl Kind {
    /// The word that stands for it in front of a value.
    pub fn keyword(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, keyword, _)| keyword)
    }

    fn by_keyword(word: &str) -> Option<Self> {
        KINDS.iter().find(|(_, keyword, _)| *keyword == word).map(|(kind, ..)| *kind)
    }

    fn by_letter(letter: &str) -> Option<Self> {
        KINDS.iter().find(|(.., known)| letter.strip_prefix(*known) == Some("")).map(|(kind, ..)| *kind)
    }

    /// The smallest and the largest of its values, of a type of integers.
    fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::Byte => (0, u8::MAX.into()),
            Self::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Self::Uint16 => (0, u16::MAX.into()),
            Self::Int32 | Self::Handle => (i32::MIN.into(), i32::MAX.into()),
            Self::Uint32 => (0, u32::MAX.into()),
            Self::Int64 => (i64::MIN.into(), i64::MAX.into()),
            Self::Uint64 => (0, u64::MAX.into()),
            _ => return None,
        })
    }
}

/// A value that is not made of others.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// True or false.
    Boolean(bool),
    /// A whole number, in the range of its type.
    Integer(Kind, i128),
    /// A finite number.
    Double(f64),
    /// Text, an object path or a signature: without NUL, otherwise as it was written.
    Text(Kind, String),
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Variant {
    /// One alone.
    One(Scalar),
    /// An array, and the type of its elements.
    Many(Kind, Vec<Scalar>),
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It ends where something has to come.
    #[error("it ends where {0} should follow")]
    Ends(&'static str),
    /// Something else has to come.
    #[error("{found:?} stands where {expected} should")]
    Unexpected {
        /// What is there.
        found: char,
        /// What may be there.
        expected: &'static str,
    },
    /// A word that means nothing.
    #[error("`{0}` is no value (text stands in quotes)")]
    Word(String),
    /// A part of the format that is not read.
    #[error("{0} are not supported")]
    Unsupported(&'static str),
    /// A type that is not read.
    #[error("type `{0}` is not supported")]
    Type(String),
    /// Digits that are no number.
    #[error("`{0}` is no number")]
    Number(String),
    /// A number that its type cannot hold.
    #[error("`{number}` does not fit into {}{}", .kind.keyword(), if *.untyped { ", which a number without a type is" } else { "" })]
    Range {
        /// The number.
        number: String,
        /// Its type.
        kind: Kind,
        /// Nobody has given the type.
        untyped: bool,
    },
    /// A value of another type than the one it is said to be of.
    #[error("a value of type {} is needed, and `{found}` is none", .wanted.keyword())]
    Mismatch {
        /// The type.
        wanted: Kind,
        /// The value.
        found: String,
    },
    /// An escape in a text.
    #[error("`\\{0}` in a text stands for no character")]
    Escape(String),
    /// Text with a NUL in it, which D-Bus cannot carry.
    #[error("a text holds a NUL byte")]
    Nul,
    /// An array of which no type is known.
    #[error("an empty array needs a type, as in `@as []`")]
    Untyped,
}

/// Reads a text that is one value.
pub fn parse(text: &str) -> Result<Variant, TextError> {
    let mut reader = Reader { rest: text };
    let declared = reader.declaration()?;
    let value = if reader.skip('[') {
        let kind = match declared {
            Some(Declared::Array(kind)) => Some(kind),
            Some(Declared::Scalar(kind)) => {
                return Err(TextError::Mismatch { wanted: kind, found: "[".into() });
            }
            None => None,
        };
        reader.array(kind)?
    } else {
        let kind = match declared {
            Some(Declared::Array(_)) => return Err(reader.unexpected("`[`")),
            Some(Declared::Scalar(kind)) => Some(kind),
            None => None,
        };
        let literal = reader.literal()?;
        Variant::One(literal.resolve(kind.unwrap_or(literal.natural()), kind.is_none())?)
    };
    match reader.peek() {
        None => Ok(value),
        Some(found) => Err(TextError::Unexpected { found, expected: "its end" }),
    }
}

/// A type in front of a value.
enum Declared {
    Scalar(Kind),
    Array(Kind),
}

/// A value whose type is not known yet.
enum Literal<'a> {
    Boolean(bool),
    Number(&'a str),
    Text(String),
}

impl Literal<'_> {
    /// The type that it has when nobody says one.
    fn natural(&self) -> Kind {
        match self {
            Self::Boolean(_) => Kind::Boolean,
            Self::Number(digits) if is_double(digits) => Kind::Double,
            Self::Number(_) => Kind::Int32,
            Self::Text(_) => Kind::Text,
        }
    }

    fn resolve(&self, kind: Kind, untyped: bool) -> Result<Scalar, TextError> {
        match (self, kind) {
            (Self::Boolean(value), Kind::Boolean) => Ok(Scalar::Boolean(*value)),
            (Self::Text(text), Kind::Text | Kind::ObjectPath | Kind::Signature) => Ok(Scalar::Text(kind, text.clone())),
            (Self::Number(digits), Kind::Double) => double(digits),
            (Self::Number(digits), _) if kind.range().is_some() && !is_double(digits) => integer(digits, kind, untyped),
            (Self::Boolean(value), wanted) => Err(TextError::Mismatch { wanted, found: value.to_string() }),
            (Self::Number(digits), wanted) => Err(TextError::Mismatch { wanted, found: (*digits).to_owned() }),
            (Self::Text(text), wanted) => Err(TextError::Mismatch { wanted, found: text.escape_debug().to_string() }),
        }
    }
}

/// Digits of a hexadecimal number may be an `e`.
fn is_double(digits: &str) -> bool {
    let unsigned = digits.trim_start_matches(['+', '-']);
    !unsigned.starts_with("0x") && !unsigned.starts_with("0X") && unsigned.contains(['.', 'e', 'E'])
}

fn double(digits: &str) -> Result<Scalar, TextError> {
    let wrong = || TextError::Number(digits.to_owned());
    // What Rust also takes as a number are the names of infinity and of what is none.
    if !digits.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) {
        return Err(wrong());
    }
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    match number.is_finite() {
        true => Ok(Scalar::Double(number)),
        false => Err(TextError::Range { number: digits.to_owned(), kind: Kind::Double, untyped: false }),
    }
}

/// As in C, `0x` begins a hexadecimal number and `0` an octal one.
fn integer(digits: &str, kind: Kind, untyped: bool) -> Result<Scalar, TextError> {
    let (negative, unsigned) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let hexadecimal = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"));
    let (base, plain) = match (hexadecimal, unsigned.strip_prefix('0')) {
        (Some(rest), _) => (16, rest),
        (None, Some(rest)) if !rest.is_empty() => (8, rest),
        _ => (10, unsigned),
    };
    if plain.is_empty() || !plain.chars().all(|c| c.is_digit(base)) {
        return Err(TextError::Number(digits.to_owned()));
    }
    // All are digits, so that only too many of them are an error.
    let number = i128::from_str_radix(plain, base).ok().map(|n| if negative { -n } else { n });
    let fits = |n: &i128| kind.range().is_some_and(|(least, most)| (least..=most).contains(n));
    match number.filter(fits) {
        Some(n) => Ok(Scalar::Integer(kind, n)),
        None => Err(TextError::Range { number: digits.to_owned(), kind, untyped }),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
        self.rest.chars().next()
    }

    fn skip(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    fn unexpected(&mut self, expected: &'static str) -> TextError {
        match self.peek() {
            None => TextError::Ends(expected),
            Some(found) => TextError::Unexpected { found, expected },
        }
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// A type, where there is one: `@` and its letters, or a keyword.
    fn declaration(&mut self) -> Result<Option<Declared>, TextError> {
        if self.skip('@') {
            let name = self.take_while(|c| c.is_ascii_alphanumeric() || "(){}*?".contains(c));
            let array = name.strip_prefix('a').and_then(Kind::by_letter).map(Declared::Array);
            let found = array.or_else(|| Kind::by_letter(name).map(Declared::Scalar));
            return match found {
                Some(declared) => Ok(Some(declared)),
                None => Err(TextError::Type(format!("@{name}"))),
            };
        }
        if !self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            return Ok(None);
        }
        let before = self.rest;
        let kind = Kind::by_keyword(self.word());
        if kind.is_none() {
            self.rest = before;
        }
        Ok(kind.map(Declared::Scalar))
    }

    fn literal(&mut self) -> Result<Literal<'a>, TextError> {
        match self.peek() {
            Some(quote @ ('\'' | '"')) => {
                self.rest = &self.rest[1..];
                Ok(Literal::Text(self.text(quote)?))
            }
            Some('+' | '-' | '.' | '0'..='9') => {
                Ok(Literal::Number(self.take_while(|c| c.is_ascii_alphanumeric() || "+-._".contains(c))))
            }
            Some('b') if self.rest[1..].starts_with(['\'', '"']) => Err(TextError::Unsupported("byte strings")),
            Some(c) if c.is_ascii_alphabetic() => match self.word() {
                "true" => Ok(Literal::Boolean(true)),
                "false" => Ok(Literal::Boolean(false)),
                "just" | "nothing" => Err(TextError::Unsupported("maybes")),
                word => Err(TextError::Word(word.to_owned())),
            },
            Some('[') => Err(TextError::Unsupported("arrays inside arrays")),
            Some('(') => Err(TextError::Unsupported("tuples")),
            Some('{') => Err(TextError::Unsupported("dictionaries")),
            Some('<') => Err(TextError::Unsupported("variants")),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// A text up to the quote that it began with, which has been read.
    fn text(&mut self, quote: char) -> Result<String, TextError> {
        let mut text = String::new();
        loop {
            let mut chars = self.rest.chars();
            let next = chars.next().ok_or(TextError::Ends("a closing quote"))?;
            self.rest = chars.as_str();
            match next {
                '\0' => return Err(TextError::Nul),
                '\\' => text.extend(self.escape()?),
                c if c == quote => return Ok(text),
                c => text.push(c),
            }
        }
    }

    /// What stands behind a backslash. An escaped line break is nothing.
    fn escape(&mut self) -> Result<Option<char>, TextError> {
        let mut chars = self.rest.chars();
        let next = chars.next().ok_or(TextError::Ends("an escaped character"))?;
        self.rest = chars.as_str();
        Ok(Some(match next {
            '\0' => return Err(TextError::Nul),
            '\n' => return Ok(None),
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'u' => self.unicode("u", 4)?,
            'U' => self.unicode("U", 8)?,
            other => other,
        }))
    }

    fn unicode(&mut self, letter: &str, length: usize) -> Result<char, TextError> {
        let digits = self.rest.get(..length).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(digits) = digits else { return Err(TextError::Escape(letter.to_owned())) };
        self.rest = &self.rest[length..];
        match u32::from_str_radix(digits, 16).ok().and_then(char::from_u32) {
            Some('\0') => Err(TextError::Nul),
            Some(c) => Ok(c),
            None => Err(TextError::Escape(format!("{letter}{digits}"))),
        }
    }

    /// The elements of an array whose bracket has been read, and the bracket that closes it.
    fn array(&mut self, declared: Option<Kind>) -> Result<Variant, TextError> {
        let (mut kind, mut literals) = (declared, Vec::new());
        while !self.skip(']') {
            if !literals.is_empty() && !self.skip(',') {
                return Err(self.unexpected("`,` or `]`"));
            }
            match self.declaration()? {
                Some(Declared::Scalar(own)) => match kind {
                    Some(other) if other != own => {
                        return Err(TextError::Mismatch { wanted: other, found: own.keyword().to_owned() });
                    }
                    _ => kind = Some(own),
                },
                Some(Declared::Array(_)) => return Err(TextError::Unsupported("arrays inside arrays")),
                None => {}
            }
            literals.push(self.literal()?);
        }
        let natural = match literals.iter().find(|literal| literal.natural() != Kind::Int32) {
            // Among doubles, a number that is written without a point is one too.
            Some(literal) => Some(literal.natural()),
            None => literals.first().map(Literal::natural),
        };
        let chosen = kind.or(natural).ok_or(TextError::Untyped)?;
        let elements = literals.iter().map(|literal| literal.resolve(chosen, kind.is_none()));
        Ok(Variant::Many(chosen, elements.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
#[path = "gvariant_tests.rs"]
mod tests;
