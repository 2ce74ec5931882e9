//! Lines of the configuration language.

use std::ops::Range;

/// Whether a directory that is included takes in a file of this name: it ends
/// in `.conf` and has at least six characters.
pub fn included_by_directory(file_name: &str) -> bool {
    file_name.len() >= 6 && file_name.ends_with(".conf")
}

/// A line of the file itself that sets or clears something.
#[derive(Debug, Clone)]
pub(super) struct KeyLine {
    /// Where it is, with its line end.
    pub(super) range: Range<usize>,
    /// The modern name of its key, or of the group it clears.
    pub(super) key: String,
    /// The key as written.
    pub(super) written: String,
    /// Its value without quotes; empty clears.
    pub(super) value: String,
}

/// A line as LXC sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Where it is in the text, without its end.
    pub(super) start: usize,
    /// The line's number, counted by line feeds from 1.
    pub(super) number: u32,
    /// The line, as written.
    pub(super) text: &'a str,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statement<'a> {
    /// Nothing: a comment, blanks, or a line that is not LXC's.
    Nothing,
    /// `key = value`; the value is without its quotes.
    Assignment(&'a str, &'a str),
    /// It begins with `lxc.` but has no `=`.
    Malformed(&'a str),
}

const BLANKS: [char; 2] = [' ', '\t'];
const ENDS: [char; 3] = ['\n', '\r', '\0'];

/// Splits a text at `\n`, `\r` and NUL; empty pieces are left out.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let (mut start, mut number) = (0, 1);
    text.split_inclusive(ENDS).filter_map(move |piece| {
        let line = Line {
            start,
            number,
            text: piece.trim_end_matches(ENDS),
        };
        start += piece.len();
        number += u32::from(piece.ends_with('\n'));
        (!line.text.is_empty()).then_some(line)
    })
}

/// Reads a line.
pub(super) fn statement(line: &str) -> Statement<'_> {
    let line = line.trim_matches(BLANKS);
    if !line.starts_with("lxc.") {
        return Statement::Nothing;
    }
    match line.split_once('=') {
        Some((key, value)) => Statement::Assignment(
            key.trim_matches(BLANKS),
            unquote(value.trim_matches(BLANKS)),
        ),
        None => Statement::Malformed(line),
    }
}

/// Takes one pair of equal quotes off.
fn unquote(value: &str) -> &str {
    ['\'', '"']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value)
}

/// The value as it must be written to be read as `value` again.
pub(super) fn quote(value: &str) -> String {
    if unquote(value) != value || value.trim_matches(BLANKS) != value {
        format!("\"{value}\"")
    } else {
        value.to_owned()
    }
}
