use std::collections::HashSet;

use crate::text::{mark, tr, tr_name};

/// The longest name: that of a label in DNS, since the name is the host's name too.
const LONGEST: usize = 63;

/// Checks the name of a new container as it is typed, by the rules of the helper.
///
/// # Errors
/// One sentence that says what to change.
pub fn check(name: &str, taken: &HashSet<String>) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if let Some(c) = name.chars().find(|&c| !allowed(c)) {
        let shown = if c == ' ' {
            tr("a space")
        } else {
            format!("“{c}”")
        };
        let sentence =
            mark("The name cannot have {name} in it: use letters, digits, hyphens and dots.");
        return Err(tr_name(sentence, &shown));
    }
    if name.len() > LONGEST {
        return Err(tr("The name is too long: 63 characters are the most."));
    }
    if name
        .split('.')
        .any(|part| part.is_empty() || part.starts_with('-') || part.ends_with('-'))
    {
        return Err(tr(
            "The name, and each part of it between dots, begins and ends with a letter or digit.",
        ));
    }
    if taken.contains(name) {
        return Err(tr_name("There is a container “{name}” already.", name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str) -> Result<(), String> {
        check(name, &HashSet::from(["web1".to_owned()]))
    }

    #[test]
    fn host_names_are_allowed() {
        for name in ["a", "web2", "Web-1.example", "0", &"x".repeat(63)] {
            assert_eq!(verdict(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_change() {
        assert!(verdict("a b").unwrap_err().contains("a space"));
        assert!(verdict("../x").unwrap_err().contains("“/”"));
        assert!(verdict("a_b").unwrap_err().contains("“_”"));
        assert!(verdict("grün").unwrap_err().contains("“ü”"));
        assert!(verdict("web1").unwrap_err().contains("already"));
        assert!(verdict(&"x".repeat(64)).unwrap_err().contains("63"));
        for name in ["-a", "a-", ".a", "a..b", "a.-b", ""] {
            assert!(
                verdict(name).unwrap_err().contains("begins and ends"),
                "{name}"
            );
        }
    }
}
