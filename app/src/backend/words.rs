use crate::text::tr;

/// Splits a command line into words as a shell does: at blanks, but not within
/// quotes or after a backslash. Nothing is expanded.
///
/// # Errors
/// One sentence that says what to change.
pub(super) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                // Quotes around nothing are an empty word.
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => match rest.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err(tr("The backslash at the end escapes nothing: remove it.")),
            },
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(tr("A quotation mark is not closed."));
    }
    words.extend(word);
    if words.is_empty() {
        return Err(tr("There is no command."));
    }
    Ok(words)
}

/// Whether [`split`] is content with a line.
///
/// # Errors
/// Those of [`split`].
pub fn check(line: &str) -> Result<(), String> {
    split(line).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_by_a_shell() {
        let words = split(r#" sh -c 'echo "$1"' "a b"c d\ e "" "#).unwrap();
        assert_eq!(words, ["sh", "-c", r#"echo "$1""#, "a bc", "d e", ""]);
        for wrong in ["", "  ", "a 'b", "a \\"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
