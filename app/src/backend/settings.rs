use std::collections::HashMap;

use gantry_api::{ResourcesProxy, Result};

use super::{Backend, calls::path};

/// Something of a container that its page of settings changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// Whether it starts with the computer: 1 or nothing.
    Autostart,
    /// Its place in the order of starting.
    Order,
    /// Seconds to wait after it was started.
    Delay,
    /// The groups it is in.
    Groups,
    /// Bytes of memory at most.
    Memory,
    /// Its share of the processors, from 1 to 10000.
    Processors,
    /// Processes at most.
    Processes,
}

/// Where a setting is kept.
enum Place {
    /// A key of the configuration.
    Config(&'static str),
    /// A file of the control groups, and what stands for no limit.
    Limit(&'static str, &'static str),
}

impl Setting {
    /// Every setting.
    pub const ALL: [Self; 7] = [
        Self::Autostart,
        Self::Order,
        Self::Delay,
        Self::Groups,
        Self::Memory,
        Self::Processors,
        Self::Processes,
    ];

    fn place(self) -> Place {
        match self {
            Self::Autostart => Place::Config("lxc.start.auto"),
            Self::Order => Place::Config("lxc.start.order"),
            Self::Delay => Place::Config("lxc.start.delay"),
            Self::Groups => Place::Config("lxc.group"),
            Self::Memory => Place::Limit("memory.max", "max"),
            Self::Processors => Place::Limit("cpu.weight", "100"),
            Self::Processes => Place::Limit("pids.max", "max"),
        }
    }
}

impl Backend {
    /// What a setting is now; nothing when it is not set.
    ///
    /// # Errors
    /// Those of `Container.GetConfigItem` and `Resources.GetLimit` in the contract.
    pub async fn setting(&self, container: &str, setting: Setting) -> Result<String> {
        match setting.place() {
            Place::Config(key) => {
                let proxy = self.container(container).await?;
                Ok(proxy.get_config_item(key).await?.join(", "))
            }
            Place::Limit(key, none) => {
                let value = self.resources(container).await?.get_limit(key).await?;
                Ok(if value == none { String::new() } else { value })
            }
        }
    }

    /// Saves a setting; nothing takes it away. Limits apply at once, too.
    ///
    /// # Errors
    /// Those of `Container.SetConfigItem` and `Resources.SetLimit` in the contract.
    pub async fn set_setting(&self, container: &str, setting: Setting, value: &str) -> Result<()> {
        match setting.place() {
            Place::Config(key) => {
                let parts = value.split([',', ' ']).filter(|part| !part.is_empty());
                let parts: Vec<&str> = parts.collect();
                let proxy = self.container(container).await?;
                proxy.set_config_item(key, &parts, HashMap::new()).await
            }
            Place::Limit(key, none) => {
                let value = match value.trim() {
                    "" => none,
                    value => value,
                };
                let options = HashMap::from([("persist", true.into())]);
                let proxy = self.resources(container).await?;
                proxy.set_limit(key, value, options).await
            }
        }
    }

    async fn resources(&self, container: &str) -> Result<ResourcesProxy<'static>> {
        let bus = self.bus()?;
        Ok(ResourcesProxy::builder(&bus)
            .path(path(container)?)?
            .build()
            .await?)
    }
}
