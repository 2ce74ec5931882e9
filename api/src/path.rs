use zbus::zvariant::{ObjectPath, OwnedObjectPath};

use crate::{Owner, ROOT_PATH};

/// Escapes a name for use as one element of an object path, as systemd does:
/// every byte outside `[A-Za-z0-9]` becomes `_xx`; the empty name is `_`.
#[must_use]
pub fn escape(name: &str) -> String {
    use std::fmt::Write as _;
    if name.is_empty() {
        return "_".into();
    }
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(out, "_{byte:02x}").unwrap_or_default();
        }
    }
    out
}

/// The inverse of [`escape`]; `None` for text that `escape` cannot have made.
#[must_use]
pub fn unescape(element: &str) -> Option<String> {
    if element == "_" {
        return Some(String::new());
    }
    let mut out = Vec::with_capacity(element.len());
    let mut rest = element.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'_' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    let name = String::from_utf8(out).ok()?;
    (escape(&name) == element).then_some(name)
}

/// The object path of a container.
#[must_use]
pub fn container_path(owner: Owner, name: &str) -> OwnedObjectPath {
    object(format!("{ROOT_PATH}/container/{owner}/{}", escape(name)))
}

/// Owner and name of the container that an object path stands for.
#[must_use]
pub fn parse_container_path(path: &ObjectPath<'_>) -> Option<(Owner, String)> {
    let rest = path
        .as_str()
        .strip_prefix(ROOT_PATH)?
        .strip_prefix("/container/")?;
    let (owner, element) = rest.split_once('/')?;
    Some((owner.parse().ok()?, unescape(element)?))
}

/// The path of the root object.
#[must_use]
pub fn root_path() -> OwnedObjectPath {
    object(ROOT_PATH.to_owned())
}

/// The object path of a network.
#[must_use]
pub fn network_path(name: &str) -> OwnedObjectPath {
    object(format!("{ROOT_PATH}/network/{}", escape(name)))
}

/// The object path of a cached image.
#[must_use]
pub fn image_path(id: &str) -> OwnedObjectPath {
    object(format!("{ROOT_PATH}/image/{}", escape(id)))
}

/// The object path of a job.
#[must_use]
pub fn job_path(number: u64) -> OwnedObjectPath {
    object(format!("{ROOT_PATH}/job/{number}"))
}

/// The object path of a session.
#[must_use]
pub fn session_path(number: u64) -> OwnedObjectPath {
    object(format!("{ROOT_PATH}/session/{number}"))
}

fn object(path: String) -> OwnedObjectPath {
    // Made of escaped elements only, so it is valid by construction.
    ObjectPath::from_string_unchecked(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_path() {
        for name in ["web1", "web-1.example", "a_b", "_", "ünicode", ""] {
            assert_eq!(unescape(&escape(name)).as_deref(), Some(name));
        }
        assert_eq!(escape("web-1"), "web_2d1");
        assert_eq!(unescape("web_2D1"), None, "upper-case digits are not ours");
        assert_eq!(unescape("a_4"), None);
    }

    #[test]
    fn container_paths_are_read_back() {
        for owner in [Owner::System, Owner::User(1000)] {
            let path = container_path(owner, "web-1");
            assert_eq!(
                parse_container_path(&path),
                Some((owner, "web-1".to_owned()))
            );
        }
    }
}
