//! Files of `key = value` lines, of which a change leaves the rest as it is.

/// What a line says: where it stands, its key and its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: u32,
    pub(super) key: &'a str,
    /// As it stands there, without blanks around it.
    pub(super) value: &'a str,
}

/// The lines that set something: neither comments nor anything else.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().zip(1..).filter_map(|(line, number)| {
        let (key, value) = line.split_once('=')?;
        let key = key.trim();
        let key = key.strip_prefix("export ").unwrap_or(key).trim();
        let is_key = !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_key.then_some(Line {
            number,
            key,
            value: value.trim(),
        })
    })
}

/// The text with these lines for a key in place of those it has: where the first of
/// them was, or at the end.
pub(super) fn replace(text: &str, key: &str, new: &[String]) -> String {
    let old: Vec<u32> = lines(text)
        .filter(|line| line.key == key)
        .map(|line| line.number)
        .collect();
    let mut result = String::with_capacity(text.len());
    let put = |result: &mut String| {
        for line in new {
            result.push_str(line);
            result.push('\n');
        }
    };
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        if old.first() == Some(&number) {
            put(&mut result);
        }
        if !old.contains(&number) {
            result.push_str(line);
        }
    }
    if old.is_empty() && !new.is_empty() {
        if !result.is_empty() && !result.ends_with('\n') {
            result.push('\n');
        }
        put(&mut result);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_the_rest_as_it_is() {
        let text = "# mine\na = 1\nodd line\n b=2\na = 3";
        let new = ["a = 9".to_owned()];
        assert_eq!(replace(text, "a", &new), "# mine\na = 9\nodd line\n b=2\n");
        assert_eq!(replace(text, "a", &[]), "# mine\nodd line\n b=2\n");
        assert_eq!(
            replace(text, "c", &["c = 4".to_owned()]),
            format!("{text}\nc = 4\n")
        );
        assert_eq!(replace("", "a", &new), "a = 9\n");
    }
}
