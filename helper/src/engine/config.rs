//! Reading and changing configs. They are their users' files: what is not
//! changed stays as it is, byte for byte.

use super::{ContainerId, Engine, Error, Result};

impl Engine {
    /// The text of a container's config and its revision.
    pub(crate) async fn config_text(&self, _id: &ContainerId) -> Result<(String, u64)> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Replaces a container's config. [`Error::Conflict`] if `revision` is not
    /// the present one, [`Error::InvalidConfig`] if the text has an error.
    pub(crate) async fn set_config(
        &self,
        _id: &ContainerId,
        _text: &str,
        _revision: u64,
    ) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// The values of one key, includes taken into account; one that is set
    /// once or not at all gives one or no value.
    pub(crate) async fn config_item(&self, _id: &ContainerId, _key: &str) -> Result<Vec<String>> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Sets one key to these values; none removes it.
    pub(crate) async fn set_config_item(
        &self,
        _id: &ContainerId,
        _key: &str,
        _values: &[String],
    ) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// The keys by which `text` would give a container rights that equal root
    /// on the host and that its present config does not give. Empty: the
    /// change is in the safe subset.
    pub(crate) async fn unsafe_config(
        &self,
        _id: &ContainerId,
        _text: &str,
    ) -> Result<Vec<String>> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// As [`Engine::unsafe_config`], for setting one key.
    pub(crate) async fn unsafe_config_item(
        &self,
        _id: &ContainerId,
        _key: &str,
        _values: &[String],
    ) -> Result<Vec<String>> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// The text that every new container's config begins with, and its
    /// revision.
    pub(crate) async fn defaults(&self) -> Result<(String, u64)> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Replaces the defaults; errors as [`Engine::set_config`].
    pub(crate) async fn set_defaults(&self, _text: &str, _revision: u64) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// As [`Engine::unsafe_config`], for the defaults.
    pub(crate) async fn unsafe_defaults(&self, _text: &str) -> Result<Vec<String>> {
        Err(Error::Unsupported("not yet".into()))
    }
}
