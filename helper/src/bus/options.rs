//! The `a{sv}` at the end of methods: each option is taken by name and type, and
//! what is left over afterwards is refused.

use std::{collections::HashMap, os::fd::OwnedFd};

use gantry_api::{Error, Result};
use zbus::zvariant::{Fd, OwnedValue};

/// Options as they come from the bus.
pub(super) type Dictionary = HashMap<String, OwnedValue>;

/// The options of one call while they are being read.
pub(super) struct Options {
    given: Dictionary,
    known: Vec<&'static str>,
}

impl Options {
    /// Reads every option by `read`, then refuses those it did not ask for.
    ///
    /// # Errors
    /// `InvalidArgument` for a wrong type, for a control character in a string,
    /// and for an unknown option, naming the known ones.
    pub(super) fn read<T>(
        given: Dictionary,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let mut options = Self {
            given,
            known: Vec::new(),
        };
        let value = read(&mut options)?;
        let Some(unknown) = options.given.keys().min() else {
            return Ok(value);
        };
        options.known.sort_unstable();
        Err(Error::InvalidArgument(match options.known.as_slice() {
            [] => format!("there is no option {unknown:?}; this method has none"),
            known => format!(
                "there is no option {unknown:?}; there are {}",
                known.join(", ")
            ),
        }))
    }

    /// Refuses every option, for methods that have none yet.
    pub(super) fn none(given: Dictionary) -> Result<()> {
        Self::read(given, |_| Ok(()))
    }

    /// The option `key`, if it was given.
    pub(super) fn take<T: OptionValue>(&mut self, key: &'static str) -> Result<Option<T>> {
        self.known.push(key);
        let Some(value) = self.given.remove(key) else {
            return Ok(None);
        };
        let signature = value.value_signature().to_string();
        T::read(value).map(Some).map_err(|wrong| {
            Error::InvalidArgument(match wrong {
                Wrong::Type => {
                    format!(
                        "the option {key:?} has the type '{signature}'; give {}",
                        T::KIND
                    )
                }
                Wrong::Text => {
                    format!("the option {key:?} contains a control character; remove it")
                }
            })
        })
    }

    /// A boolean option that is off unless given.
    pub(super) fn flag(&mut self, key: &'static str) -> Result<bool> {
        Ok(self.take(key)?.unwrap_or_default())
    }
}

/// Why a value does not fit its option.
pub(super) enum Wrong {
    Type,
    Text,
}

/// A type that an option can have.
pub(super) trait OptionValue: Sized {
    /// The type in words, with its D-Bus signature.
    const KIND: &'static str;
    /// The value, when it has exactly this type.
    fn read(value: OwnedValue) -> std::result::Result<Self, Wrong>;
}

macro_rules! plain_option {
    ($($type:ty, $kind:literal;)*) => {$(
        impl OptionValue for $type {
            const KIND: &'static str = $kind;
            fn read(value: OwnedValue) -> std::result::Result<Self, Wrong> {
                value.try_into().map_err(|_| Wrong::Type)
            }
        }
    )*};
}
plain_option! {
    bool, "a boolean (b)";
    i32, "a number (i)";
    u16, "a number (q)";
    u32, "a number (u)";
    i64, "a number (x)";
    u64, "a number (t)";
    Vec<String>, "a list of strings (as)";
}

impl OptionValue for String {
    const KIND: &'static str = "a string (s)";
    fn read(value: OwnedValue) -> std::result::Result<Self, Wrong> {
        let text = Self::try_from(value).map_err(|_| Wrong::Type)?;
        if text.chars().any(char::is_control) {
            Err(Wrong::Text)
        } else {
            Ok(text)
        }
    }
}

impl OptionValue for OwnedFd {
    const KIND: &'static str = "a file descriptor (h)";
    fn read(value: OwnedValue) -> std::result::Result<Self, Wrong> {
        Fd::try_from(value)
            .and_then(Self::try_from)
            .map_err(|_| Wrong::Type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::zvariant::Value;

    fn given(options: &[(&str, Value<'_>)]) -> Dictionary {
        options
            .iter()
            .map(|(key, value)| {
                (
                    (*key).to_owned(),
                    OwnedValue::try_from(value.clone()).unwrap(),
                )
            })
            .collect()
    }

    fn refusal(options: &[(&str, Value<'_>)]) -> String {
        let read = Options::read(given(options), |options| {
            Ok((options.flag("force")?, options.take::<i64>("timeout_ms")?))
        });
        match read {
            Err(Error::InvalidArgument(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn known_options_of_the_right_type_are_read() {
        let options = given(&[
            ("force", true.into()),
            ("name", "web".into()),
            ("tty", 3_u32.into()),
            ("args", vec!["a", "b"].into()),
        ]);
        let read = Options::read(options, |options| {
            assert!(options.flag("force")?);
            assert!(!options.flag("start")?);
            assert_eq!(options.take::<String>("name")?.as_deref(), Some("web"));
            assert_eq!(options.take::<u32>("tty")?, Some(3));
            assert_eq!(options.take::<Vec<String>>("args")?.unwrap(), ["a", "b"]);
            assert_eq!(options.take::<String>("server")?, None);
            Ok(())
        });
        assert_eq!(read, Ok(()));
    }

    #[test]
    fn unknown_options_are_refused_with_the_known_ones() {
        let sentence = refusal(&[("forse", true.into())]);
        assert!(
            sentence.contains("\"forse\"") && sentence.contains("force, timeout_ms"),
            "{sentence}"
        );
        assert!(Options::none(given(&[("force", true.into())])).is_err());
        assert_eq!(Options::none(given(&[])), Ok(()));
    }

    #[test]
    fn wrong_types_are_refused() {
        for (wrong, named) in [(Value::from("yes"), "'s'"), (Value::from(1_u32), "'u'")] {
            let sentence = refusal(&[("force", wrong)]);
            assert!(
                sentence.contains(named) && sentence.contains("(b)"),
                "{sentence}"
            );
        }
        assert!(refusal(&[("timeout_ms", 5_u32.into())]).contains("(x)"));
    }

    #[test]
    fn strings_hold_no_control_characters() {
        let read = Options::read(given(&[("name", "a\nb".into())]), |options| {
            options.take::<String>("name")
        });
        assert!(matches!(read, Err(Error::InvalidArgument(_))));
    }
}
