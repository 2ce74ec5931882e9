/// The most that a view can show at once, in bytes.
const LIMIT: usize = 1 << 20;

/// What a terminal's output says, without colours and movements (ECMA-48), and of
/// a long one the end.
pub(super) fn text(output: &str) -> String {
    let skipped = output.len().saturating_sub(LIMIT);
    let start = output
        .char_indices()
        .map(|(at, _)| at)
        .find(|at| *at >= skipped)
        .unwrap_or_default();
    let mut plain = String::with_capacity(output.len() - start);
    let mut rest = output[start..].chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => (),
            c => plain.push(c),
        }
    }
    plain
}

/// Skips what follows an escape: a control sequence ends with a letter or the
/// like, an operating system command with BEL or the string terminator.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => {
            rest.find(|c| ('@'..='~').contains(c));
        }
        Some(']') => {
            while let Some(c) = rest.next() {
                if c == '\u{7}' || (c == '\u{1b}' && rest.next() == Some('\\')) {
                    return;
                }
            }
        }
        // A character set: one more.
        Some('(' | ')') => {
            rest.next();
        }
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_titles_are_left_out() {
        let said = "\u{1b}[1;32m[ OK ]\u{1b}[0m Started \u{1b}]0;title\u{7}x\r\n\u{1b}(Bend\u{7}";
        assert_eq!(text(said), "[ OK ] Started x\nend");
        assert_eq!(text("cut \u{1b}["), "cut ");
    }

    #[test]
    fn of_a_long_log_the_end_is_shown() {
        let long = format!("begin{}end", "ä".repeat(LIMIT));
        let shown = text(&long);
        assert!(shown.len() <= LIMIT && shown.ends_with("end") && !shown.contains("begin"));
    }
}
