//! Syntax errors in our own words: the parser's messages may repeat the content of the file.

use std::ops::Range;

/// A syntax error, and how much of the rest of the file can be used.
pub(super) struct SyntaxError {
    /// What is wrong.
    pub(super) message: &'static str,
    /// What would be right.
    pub(super) help: Option<&'static str>,
    /// True if the rest of the file was still understood.
    pub(super) is_local: bool,
}

/// Returns the error for a message of the `toml` crate about a part of the file. Only the part of the
/// message before `, expected` is used.
pub(super) fn explain(message: &str, text: &str, part: &Range<usize>) -> SyntaxError {
    let mut described = message.split(", expected").next().unwrap_or_default();
    if described == "string values must be quoted" && text[part.clone()].trim().is_empty() {
        described = "missing value";
    }
    let row = ERRORS.iter().find(|row| described.starts_with(row.0));
    let &(_, message, help, is_local) = row.unwrap_or(&("", "this is not TOML", "", false));
    let help = foreign_syntax_help(text, part.start).or((!help.is_empty()).then_some(help));
    SyntaxError { message, help, is_local }
}

/// Returns help for text in the syntax of another language or from a word processor.
fn foreign_syntax_help(text: &str, at: usize) -> Option<&'static str> {
    let start = text[..at].rfind('\n').map_or(0, |before| before + 1);
    let line = text[start..].lines().next().unwrap_or_default().trim();
    let rest = text[at..].lines().next().unwrap_or_default().trim_start();
    let word = rest.split([' ', '\t', ',', '#', ']', '}']).next().unwrap_or_default();
    let variable = |name: &str| {
        let capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        name.contains('_') && name.bytes().all(capital)
    };
    let json = line.trim_start_matches(['{', '[', ' ']);
    let before_colon = || line.split_once(':').map(|(name, _)| name.trim_start_matches("- "));
    let plain = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    if rest.starts_with(['“', '”', '„', '‘', '’', '«', '»', '`']) {
        Some("TOML has straight quotes only: \"text\" or 'text'")
    } else if ["true", "false", "yes", "no", "on", "off"].contains(&&*word.to_lowercase()) {
        Some("write `true` or `false` in lower case and without quotes")
    } else if line.trim_start_matches("export ").split('=').next().is_some_and(variable) {
        Some("set variables where keymux is started; value = { env_var = \"NAME\" } refers to one")
    } else if line.starts_with("//") || line.starts_with("/*") {
        Some("a comment begins with `#`")
    } else if line == "{" || json.starts_with('"') && json.contains("\":") {
        Some(
            "this looks like JSON: in TOML a table begins with [name], and a setting is name = value",
        )
    } else if before_colon().is_some_and(|name| !name.is_empty() && plain(name)) {
        Some("write a setting as name = value, with `=` instead of `:`")
    } else {
        None
    }
}

const NOT_CLOSED: &str =
    "this text is not closed, or contains a character or an escape that TOML does not allow";
const BACKSLASH: &str = "in \"…\" a backslash begins an escape; in '…' it does not";
const NO_NUMBER: &str = "this is not a number in TOML's syntax";
const QUOTES: &str = "write text in quotes: name = \"text\"";
const CONTROL: &str = "this is a control character that TOML does not allow";

/// Beginning of the parser's message, our message, our help, [`SyntaxError::is_local`].
const ERRORS: [(&str, &str, &str, bool); 57] = [
    ("duplicate key", "this name is set twice in the file", "keep one of the two", true),
    (
        "cannot extend value of type",
        "this name is already set to something that is not a table",
        "",
        true,
    ),
    ("string values must be quoted", "this text has no quotes", QUOTES, true),
    ("missing escaped value", NOT_CLOSED, BACKSLASH, true),
    ("too few unicode value digits", NOT_CLOSED, BACKSLASH, true),
    ("invalid escape sequence", NOT_CLOSED, BACKSLASH, true),
    (
        "invalid multi-line",
        NOT_CLOSED,
        "text that begins with three quotes must end with three quotes",
        false,
    ),
    ("invalid basic string", NOT_CLOSED, BACKSLASH, true),
    (
        "invalid literal string",
        NOT_CLOSED,
        "a '…' text ends at the next ' and stays on its line",
        true,
    ),
    ("invalid string", NOT_CLOSED, BACKSLASH, true),
    ("invalid boolean", "this is neither `true` nor `false`", QUOTES, true),
    ("invalid date-time", "this is not a date in TOML's syntax", QUOTES, true),
    ("invalid float", NO_NUMBER, QUOTES, true),
    ("invalid integer", NO_NUMBER, QUOTES, true),
    ("invalid hexadecimal", NO_NUMBER, QUOTES, true),
    ("invalid octal", NO_NUMBER, QUOTES, true),
    ("invalid binary", NO_NUMBER, QUOTES, true),
    ("invalid value", "this is not a value in TOML's syntax", QUOTES, true),
    ("invalid mantissa", NO_NUMBER, "write a fraction as 0.5", true),
    ("invalid fraction", NO_NUMBER, "write a fraction as 0.5", true),
    ("invalid exponent", NO_NUMBER, "write a fraction as 0.5", true),
    ("missing opening quote", "the quote that opens this text is missing", QUOTES, true),
    ("redundant numeric sign", NO_NUMBER, QUOTES, true),
    ("redundant integer number prefix", NO_NUMBER, QUOTES, true),
    ("integers with a radix cannot be signed", NO_NUMBER, QUOTES, true),
    ("radix must be lowercase", NO_NUMBER, QUOTES, true),
    ("unexpected leading zero", NO_NUMBER, "a number does not begin with 0", true),
    ("unexpected sign", NO_NUMBER, QUOTES, true),
    ("`_` may only go between digits", NO_NUMBER, QUOTES, true),
    ("missing value", "there is no value after the `=`", "write a value, or remove the line", true),
    ("key with no value", "this line sets nothing", "write a setting as name = value", false),
    ("extra `=`", "there is an extra `=`", "", false),
    (
        "unexpected key or value",
        "there is text where the line should end",
        "write each setting on its own line",
        false,
    ),
    (
        "unexpected content",
        "there is text where the line should end",
        "write each setting on its own line",
        false,
    ),
    ("invalid comment character", CONTROL, "", true),
    (
        "carriage return must be followed by newline",
        "there is a carriage return that does not end its line",
        "",
        false,
    ),
    (
        "unclosed array table",
        "the header of this list of tables is not closed",
        "write [[name]]",
        false,
    ),
    ("unclosed table", "the header of this table is not closed", "write [name]", false),
    ("unclosed array", "the `[` of this list is not closed", "", false),
    ("unclosed inline table", "the `{` of this table is not closed", "", false),
    (
        "missing comma between array elements",
        "a comma is missing before this, or the list is not closed",
        "write a list as [\"one\", \"two\"]",
        false,
    ),
    (
        "missing comma between key-value pairs",
        "a comma is missing before this, or the table is not closed",
        "write a table as { one = 1, two = 2 }",
        false,
    ),
    ("extra comma", "there is an extra comma", "", false),
    (
        "unexpected `=` in array",
        "there is a `=` in a list",
        "write a table within a list in braces: { name = value }",
        false,
    ),
    (
        "missing assignment between key-value pairs",
        "this sets nothing",
        "within braces, write a setting as name = value",
        false,
    ),
    (
        "missing key for inline table element",
        "a name is missing before this",
        "within braces, write a setting as name = value",
        false,
    ),
    ("extra assignment", "there is an extra `=`", "", false),
    (
        "invalid inline table element",
        "this is not allowed within braces",
        "within braces, write a setting as name = value",
        false,
    ),
    (
        "invalid unquoted key",
        "this name contains a character that needs quotes",
        "\"a name in quotes\" may contain any character",
        false,
    ),
    ("unquoted keys cannot be empty", "a name is missing here", "", false),
    ("invalid key", "a name is missing here", "write a setting as name = value", false),
    ("keys cannot be", "a name cannot span several lines", "", false),
    ("missing array opening", "this `]` closes nothing", "", false),
    ("missing inline table opening", "this `}` closes nothing", "", false),
    ("missing table open", "this `]` closes nothing", "", false),
    ("cannot recurse further", "tables or lists are nested too deeply here", "", false),
    ("recursion limit", "tables or lists are nested too deeply here", "", false),
];
