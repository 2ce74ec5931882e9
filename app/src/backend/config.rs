use std::{collections::HashMap, fs::File, io::Read as _};

use gantry_api::{Error, ManagerProxy, Result};

use super::Backend;

/// Which log of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// What it wrote to its console.
    Console,
    /// What was written about running it.
    Container,
}

/// A configuration that can be edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// A container's, by its path on the bus.
    Container(String),
    /// What that of every new container begins with.
    Defaults,
}

impl Backend {
    /// The text of a configuration, and its revision.
    ///
    /// # Errors
    /// Those of `Container.GetConfig` and `Manager.GetDefaults` in the contract.
    pub async fn config(&self, file: &ConfigFile) -> Result<(String, u64)> {
        match file {
            ConfigFile::Container(path) => self.container(path).await?.get_config().await,
            ConfigFile::Defaults => ManagerProxy::new(&self.bus()?).await?.get_defaults().await,
        }
    }

    /// Replaces the configuration that has this revision.
    ///
    /// # Errors
    /// Those of `Container.SetConfig` and `Manager.SetDefaults` in the contract:
    /// `Conflict` when it has been changed meanwhile, `InvalidConfig` when the text has
    /// an error.
    pub async fn set_config(&self, file: &ConfigFile, text: &str, revision: u64) -> Result<()> {
        let options = HashMap::new();
        match file {
            ConfigFile::Container(path) => {
                let proxy = self.container(path).await?;
                proxy.set_config(text, revision, options).await
            }
            ConfigFile::Defaults => {
                let manager = ManagerProxy::new(&self.bus()?).await?;
                manager.set_defaults(text, revision, options).await
            }
        }
    }

    /// Writes the keys of LXC 1.x and 2.0 in the configuration that has this revision
    /// as those of today, or with `dry` only says what would be written; what is changed,
    /// in a sentence each.
    ///
    /// # Errors
    /// Those of `Container.ConvertConfig` in the contract.
    pub async fn convert_config(
        &self,
        container: &str,
        revision: u64,
        dry: bool,
    ) -> Result<Vec<String>> {
        let proxy = self.container(container).await?;
        let options = HashMap::from([("revision", revision.into()), ("dry_run", dry.into())]);
        proxy.convert_config(options).await
    }

    /// Gives a stopped container another name.
    ///
    /// # Errors
    /// Those of `Container.Rename` in the contract.
    pub async fn rename(&self, container: &str, name: &str) -> Result<()> {
        let proxy = self.container(container).await?;
        proxy.rename(name, HashMap::new()).await
    }

    /// The whole of a log, bytes that are no text replaced.
    ///
    /// # Errors
    /// Those of `Container.ReadLog` in the contract.
    pub async fn log(&self, container: &str, kind: LogKind) -> Result<String> {
        let which = match kind {
            LogKind::Console => "console",
            LogKind::Container => "container",
        };
        let proxy = self.container(container).await?;
        let fd = proxy.read_log(which, HashMap::new()).await?;
        let mut bytes = Vec::new();
        // A sealed copy in memory: reading it never waits.
        File::from(std::os::fd::OwnedFd::from(fd))
            .read_to_end(&mut bytes)
            .map_err(|error| Error::Failed(format!("The log cannot be read: {error}.")))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The line, from 1, that the message of `InvalidConfig` names in the file whose path
/// ends like this; none when an included file is at fault.
#[must_use]
pub fn fault_line(message: &str, path_end: &str) -> Option<u32> {
    let (file, rest) = message.split_once(", line ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    file.ends_with(path_end).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_the_container_itself_is_shown() {
        let message = "/var/lib/lxc/web1/config, line 12, lxc.foo: no such key";
        assert_eq!(fault_line(message, "/web1/config"), Some(12));
        assert_eq!(fault_line(message, "/b1/config"), None);
        let included = "/usr/share/lxc/config/common.conf, line 3: x";
        assert_eq!(fault_line(included, "/web1/config"), None);
        assert_eq!(
            fault_line("/var/lib/lxc/web1/config: too long", "/web1/config"),
            None
        );
    }
}
