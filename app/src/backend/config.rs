use std::{collections::HashMap, fs::File, io::Read as _};

use gantry_api::{Error, Result};

use super::Backend;

/// Which log of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// What it wrote to its console.
    Console,
    /// What was written about running it.
    Container,
}

impl Backend {
    /// The text of a container's configuration, and its revision.
    ///
    /// # Errors
    /// Those of `Container.GetConfig` in the contract.
    pub async fn config(&self, container: &str) -> Result<(String, u64)> {
        self.container(container).await?.get_config().await
    }

    /// Replaces the configuration that has this revision.
    ///
    /// # Errors
    /// Those of `Container.SetConfig` in the contract: `Conflict` when it has been
    /// changed meanwhile, `InvalidConfig` when the text has an error.
    pub async fn set_config(&self, container: &str, text: &str, revision: u64) -> Result<()> {
        let proxy = self.container(container).await?;
        proxy.set_config(text, revision, HashMap::new()).await
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

/// The line, from 1, that the message of `InvalidConfig` names in the
/// configuration of the container `name` itself; none when an included file is
/// at fault.
#[must_use]
pub fn fault_line(message: &str, name: &str) -> Option<u32> {
    let (file, rest) = message.split_once(", line ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    file.ends_with(&format!("/{name}/config"))
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_the_container_itself_is_shown() {
        let message = "/var/lib/lxc/web1/config, line 12, lxc.foo: no such key";
        assert_eq!(fault_line(message, "web1"), Some(12));
        assert_eq!(fault_line(message, "b1"), None);
        let included = "/usr/share/lxc/config/common.conf, line 3: x";
        assert_eq!(fault_line(included, "web1"), None);
        assert_eq!(
            fault_line("/var/lib/lxc/web1/config: too long", "web1"),
            None
        );
    }
}
