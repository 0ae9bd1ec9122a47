//! A PEM file as text that a C compiler takes: a macro, a string, an array of bytes, or bare quoted lines.
//!
//! ```text
//! macro   #define CA_CERTIFICATE \              string  static const char ca_certificate[] =
//!         "-----BEGIN CERTIFICATE-----\n" \             "-----BEGIN CERTIFICATE-----\n"
//!         …                                             …;
//! bytes   static const unsigned char x[] = {    lines   "-----BEGIN CERTIFICATE-----\n"
//!             0x2d, 0x2d, …, 0x00                       …           (to be #included inside braces)
//!         };
//! ```
//!
//! Whatever the style, the compiled text is the file byte for byte, and `sizeof(x) - 1` is its length: a string ends
//! in a NUL by itself, and the array of bytes gets one. The macro is what the exercise's `crt_to_header.py` writes,
//! but for the backslash behind the last line, which would swallow the line below (compilers warn about it).
//!
//! The text may be a private key: it is zeroized on drop, and whether that is allowed is the caller's question.

use std::fmt;

use zeroize::Zeroizing;

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `#define NAME \` and quoted lines, as the exercise has it.
    Macro,
    /// `static const char NAME[] =` and quoted lines.
    String,
    /// `static const unsigned char NAME[] = {` and hexadecimal bytes, the last one 0x00.
    Bytes,
    /// Quoted lines and nothing else, as the SDK's sample includes them.
    Lines,
}

/// What the header looks like.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// How the text is written.
    pub style: Style,
    /// Name of macro or array: a C identifier. [`Style::Lines`] has none and ignores it.
    pub name: &'a str,
    /// Columns a line takes at most; `None`: a line of the file is a line of the header, and 12 bytes make a line of an
    /// array. At least [`LINE_LENGTH_MIN`].
    pub line_length: Option<usize>,
    /// Name of an include guard; `None` writes none.
    pub guard: Option<&'a str>,
}

/// Narrower than this there is no room for quotes, an escape and the backslash.
pub const LINE_LENGTH_MIN: usize = 20;

/// The longest text, in bytes. C99 promises only 4095 characters of one string, compilers take far more; credentials
/// are a few kilobytes, and what is longer is another kind of file.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Why there is no header.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not a C identifier, or a word of the language.
    #[error("`{name}` cannot be a name in C: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Too narrow.
    #[error("lines of {given} columns have no room; {LINE_LENGTH_MIN} are the least")]
    Narrow {
        /// What was asked for.
        given: usize,
    },
    /// There is nothing to write.
    #[error("the file is empty")]
    Empty,
    /// It is too much.
    #[error("the file has {bytes} bytes, and {TEXT_BYTES_MAX} are the limit")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// A NUL inside would end the string early.
    #[error(
        "byte {at} of the file is a NUL, which ends a string in C; write it as an array of bytes"
    )]
    Nul {
        /// Counted from 1.
        at: usize,
    },
}

/// Writes `text` as a header.
///
/// # Errors
/// [`HeaderError`].
pub fn render(text: &[u8], options: &Options<'_>) -> Result<Zeroizing<String>, HeaderError> {
    let named = options.style != Style::Lines;
    for name in options
        .guard
        .into_iter()
        .chain(named.then_some(options.name))
    {
        check_name(name)?;
    }
    if let Some(given) = options.line_length.filter(|given| *given < LINE_LENGTH_MIN) {
        return Err(HeaderError::Narrow { given });
    }
    match text.len() {
        0 => return Err(HeaderError::Empty),
        bytes if bytes > TEXT_BYTES_MAX => return Err(HeaderError::TooLong { bytes }),
        _ => {}
    }
    if options.style != Style::Bytes
        && let Some(at) = text.iter().position(|byte| *byte == 0)
    {
        return Err(HeaderError::Nul { at: at + 1 });
    }
    // Room for all of it at once, so that growing leaves no copies of a key behind: a byte of a narrow
    // line takes eleven at most.
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 12 + 1024));
    if let Some(guard) = options.guard {
        out.push_str(&format!("#ifndef {guard}\n#define {guard}\n\n"));
    }
    let name = options.name;
    match options.style {
        Style::Macro => {
            out.push_str(&format!("#define {name} \\\n"));
            quoted(&mut out, text, options.line_length, "", " \\\n", "\n");
        }
        Style::String => {
            out.push_str(&format!("static const char {name}[] =\n"));
            quoted(&mut out, text, options.line_length, "\t", "\n", ";\n");
        }
        Style::Lines => quoted(&mut out, text, options.line_length, "", "\n", "\n"),
        Style::Bytes => {
            out.push_str(&format!("static const unsigned char {name}[] = {{\n"));
            bytes(&mut out, text, options.line_length);
            out.push_str("};\n");
        }
    }
    if let Some(guard) = options.guard {
        out.push_str(&format!("\n#endif /* {guard} */\n"));
    }
    Ok(out)
}

/// Is `name` fit to be a macro or a variable, in C and in C++?
///
/// # Errors
/// [`HeaderError::Name`].
pub fn check_name(name: &str) -> Result<(), HeaderError> {
    let bad = |why| HeaderError::Name {
        name: name.chars().take(80).collect(),
        why,
    };
    let mut letters = name.bytes();
    match letters.next() {
        None => return Err(bad("it is empty")),
        Some(b'0'..=b'9') => return Err(bad("it begins with a digit")),
        Some(_) => {}
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(bad("letters, digits and `_` make a name"));
    }
    if name.len() > 63 {
        return Err(bad(
            "compilers need only tell the first 63 characters apart (C99 5.2.4.1)",
        ));
    }
    if is_keyword(name) {
        return Err(bad("it is a word of the language"));
    }
    Ok(())
}

/// A name made from the name of a file: `ca-cert.pem` is `ca_cert`.
pub fn name_from_file(stem: &str) -> String {
    let mut name: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .take(60)
        .collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    if is_keyword(&name) {
        name.push('_');
    }
    name
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Macro => "macro",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Lines => "lines",
        })
    }
}

/// The text as string literals that the compiler joins: one for each of its lines, or more when it must be narrower.
fn quoted(
    out: &mut String,
    text: &[u8],
    width: Option<usize>,
    indent: &str,
    between: &str,
    end: &str,
) {
    // Columns for the content: a tab counts as eight, then two quotes, and the backslash behind a blank.
    let frame = if indent.is_empty() { 2 } else { 10 } + if between.len() > 1 { 2 } else { 0 };
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(frame).max(4));
    out.push_str(indent);
    out.push('"');
    let mut column = 0;
    let mut line_ended = false;
    for byte in text {
        let mut piece = [0u8; 4];
        let piece = escape(*byte, &mut piece);
        if line_ended || column + piece.len() > room {
            out.push('"');
            out.push_str(between);
            out.push_str(indent);
            out.push('"');
            column = 0;
        }
        out.push_str(piece);
        column += piece.len();
        line_ended = *byte == b'\n';
    }
    out.push('"');
    out.push_str(end);
}

/// A byte as it stands between quotes. `?` is escaped because two of them begin a trigraph; octal escapes end after
/// three digits by themselves, hexadecimal ones would swallow what follows.
fn escape(byte: u8, room: &mut [u8; 4]) -> &str {
    let bytes: &[u8] = match byte {
        b'\n' => b"\\n",
        b'\r' => b"\\r",
        b'\t' => b"\\t",
        b'"' => b"\\\"",
        b'\\' => b"\\\\",
        b'?' => b"\\?",
        b' '..=b'~' => {
            room[0] = byte;
            &room[..1]
        }
        _ => {
            *room = [
                b'\\',
                b'0' + (byte >> 6),
                b'0' + (byte >> 3 & 7),
                b'0' + (byte & 7),
            ];
            &room[..]
        }
    };
    std::str::from_utf8(bytes).unwrap_or_default() // ASCII, all of it
}

fn bytes(out: &mut String, text: &[u8], width: Option<usize>) {
    // A byte takes six columns with its comma and blank; a tab is eight, and the last byte needs no blank.
    let per_line = width.map_or(12, |width| (width.saturating_sub(7) / 6).max(1));
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (at, byte) in text.iter().chain([&0]).enumerate() {
        out.push_str(match at % per_line {
            0 if at == 0 => "\t0x",
            0 => ",\n\t0x",
            _ => ", 0x",
        });
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out.push('\n');
}

fn is_keyword(name: &str) -> bool {
    KEYWORDS.split(' ').any(|word| word == name)
}

/// Words of C (C23 6.4.1) and C++ (C++20 5.11) that a header for both cannot use.
const KEYWORDS: &str = "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class co_await co_return \
    co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do \
    double dynamic_cast else enum explicit export extern false float for friend goto if inline int long \
    mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register \
    reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast struct \
    switch template this thread_local throw true try typedef typeid typename typeof typeof_unqual union \
    unsigned using virtual void volatile wchar_t while xor xor_eq";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

    fn with(style: Style) -> Options<'static> {
        Options {
            style,
            name: "CA_CERTIFICATE",
            line_length: None,
            guard: None,
        }
    }

    #[test]
    fn the_macro_is_the_exercises_without_the_backslash_behind_the_last_line() {
        assert_eq!(
            render(PEM, &with(Style::Macro)).unwrap().as_str(),
            "#define CA_CERTIFICATE \\\n\
             \"-----BEGIN CERTIFICATE-----\\n\" \\\n\
             \"MIIB\\n\" \\\n\
             \"-----END CERTIFICATE-----\\n\"\n"
        );
    }

    #[test]
    fn strings_lines_and_bytes() {
        assert_eq!(
            render(b"A\nB", &with(Style::String)).unwrap().as_str(),
            "static const char CA_CERTIFICATE[] =\n\t\"A\\n\"\n\t\"B\";\n"
        );
        assert_eq!(
            render(b"A\nB\n", &with(Style::Lines)).unwrap().as_str(),
            "\"A\\n\"\n\"B\\n\"\n"
        );
        assert_eq!(
            render(b"A\0", &with(Style::Bytes)).unwrap().as_str(),
            "static const unsigned char CA_CERTIFICATE[] = {\n\t0x41, 0x00, 0x00\n};\n"
        );
    }

    #[test]
    fn a_guard_goes_around_it() {
        let options = Options {
            guard: Some("CERTIFICATE_H"),
            ..with(Style::Lines)
        };
        assert_eq!(
            render(b"A", &options).unwrap().as_str(),
            "#ifndef CERTIFICATE_H\n#define CERTIFICATE_H\n\n\"A\"\n\n#endif /* CERTIFICATE_H */\n"
        );
    }

    #[test]
    fn lines_are_as_long_as_asked_at_most() {
        let long = [b"0123456789?\"\\\r\x01\xff".repeat(20), b"\n".to_vec()].concat();
        for width in [20, 33, 80] {
            for style in [Style::Macro, Style::String, Style::Bytes, Style::Lines] {
                let options = Options {
                    line_length: Some(width),
                    name: "x",
                    ..with(style)
                };
                let text = render(&long, &options).unwrap();
                for line in text.lines().skip(1) {
                    let columns = line.len() + 7 * line.matches('\t').count();
                    assert!(columns <= width, "{style} {width}: {line}");
                }
            }
        }
    }

    #[test]
    fn names_that_c_does_not_take_are_refused() {
        for name in ["", "1st", "a-b", "ü", "int", "class", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for stem in ["ca-cert", "1", "", "int", "Ünïcode"] {
            check_name(&name_from_file(stem)).unwrap();
        }
        assert_eq!(name_from_file("ca-cert"), "ca_cert");
    }

    #[test]
    fn what_would_not_survive_is_refused() {
        let refused = |text: &[u8], options: &Options<'_>| render(text, options).unwrap_err();
        assert_eq!(refused(b"", &with(Style::Macro)), HeaderError::Empty);
        assert_eq!(
            refused(b"a\0", &with(Style::String)),
            HeaderError::Nul { at: 2 }
        );
        let narrow = Options {
            line_length: Some(5),
            ..with(Style::Macro)
        };
        assert_eq!(refused(b"a", &narrow), HeaderError::Narrow { given: 5 });
        let long = vec![b'a'; TEXT_BYTES_MAX + 1];
        assert!(matches!(
            refused(&long, &with(Style::Bytes)),
            HeaderError::TooLong { .. }
        ));
    }
}
