//! Names of containers and network interfaces.
//!
//! A value of these types has passed its check, so code that holds one may
//! build a path or a command from it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest container name in bytes.
pub const MAX_NAME: usize = 63;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the name is empty; give one of 1 to 63 characters")]
    Empty,
    /// More bytes than fit.
    #[error("the name has {length} bytes; use at most {limit}")]
    TooLong {
        /// Bytes in the name.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A character outside the allow-list.
    #[error("the name may not contain {0:?}; use {1}")]
    Character(char, &'static str),
    /// The first character is not a letter or digit.
    #[error("the name begins with {0:?}; begin it with a letter or a digit")]
    Start(char),
    /// A label is not what a host name may contain.
    #[error(
        "'{0}' is not a host name; use letters, digits and '-', with no '-' at the start or end of a part"
    )]
    HostName(String),
    /// A name the kernel reserves.
    #[error("'{0}' is not an interface name; choose another")]
    Reserved(String),
}

/// The name of a container: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

impl ContainerName {
    /// A name as existing containers may have it.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let first = name.chars().next().ok_or(NameError::Empty)?;
        if name.len() > MAX_NAME {
            return Err(NameError::TooLong {
                length: name.len(),
                limit: MAX_NAME,
            });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
            return Err(NameError::Character(
                bad,
                "letters, digits, '.', '_' and '-'",
            ));
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Start(first));
        }
        Ok(Self(name.to_owned()))
    }

    /// A name for a new container, which is also to be its host name
    /// (RFC 1123): parts of letters, digits and inner `-`, joined by dots.
    pub fn new_host(name: &str) -> Result<Self, NameError> {
        let checked = Self::new(name)?;
        if is_host_name(name) {
            Ok(checked)
        } else {
            Err(NameError::HostName(name.to_owned()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_host_name(name: &str) -> bool {
    name.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// The longest name of a network interface in bytes (the kernel's IFNAMSIZ
/// without the terminating NUL).
pub const MAX_INTERFACE_NAME: usize = 15;

/// The name of a network interface, by the rules of the kernel's
/// `dev_valid_name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Checks a name: 1 to 15 bytes, no `/`, `:` or white space, no control
    /// characters, neither `.` nor `..`.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_INTERFACE_NAME {
            return Err(NameError::TooLong {
                length: name.len(),
                limit: MAX_INTERFACE_NAME,
            });
        }
        let bad = |c: &char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control();
        if let Some(bad) = name.chars().find(bad) {
            return Err(NameError::Character(bad, "no '/', ':' or blanks"));
        }
        if matches!(name, "." | "..") {
            return Err(NameError::Reserved(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_traits {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}
text_traits!(ContainerName);
text_traits!(InterfaceName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_names_follow_the_allow_list() {
        for good in ["a", "c1", "Web.prod_2-x", "0", &"a".repeat(63)] {
            assert_eq!(ContainerName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "-a",
            "_a",
            ".a",
            "a b",
            "a\n",
            "a\0",
            "é",
            &"a".repeat(64),
        ] {
            assert!(ContainerName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn new_names_are_host_names() {
        for good in ["web", "web-1", "web.example.org", "1a"] {
            assert!(ContainerName::new_host(good).is_ok(), "{good}");
        }
        for bad in ["web_1", "web-", "web.", "a..b", "a.-b"] {
            let error = ContainerName::new_host(bad).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert!(
            ContainerName::new("a/b")
                .unwrap_err()
                .to_string()
                .contains("'/'")
        );
        assert!(
            ContainerName::new(&"x".repeat(300))
                .unwrap_err()
                .to_string()
                .contains("300")
        );
    }

    #[test]
    fn interface_names_follow_the_kernel() {
        for good in ["eth0", "a", "br-lan.10", "veth_1", &"x".repeat(15)] {
            assert!(InterfaceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\t", &"x".repeat(16)] {
            assert!(InterfaceName::new(bad).is_err(), "{bad:?}");
        }
    }
}
