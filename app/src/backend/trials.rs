use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use gantry_api::{ManagerProxy, Result};

use super::{
    Backend,
    properties::{Properties, read},
};

/// A change of an interface of this computer that may have cut it off, and is taken back
/// unless somebody confirms it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The interface.
    pub interface: String,
    /// When it is taken back, in seconds since 1970.
    pub until: i64,
}

impl Trial {
    /// How long there is to confirm it, in seconds.
    #[must_use]
    pub fn seconds_left(&self) -> u32 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs().cast_signed();
        u32::try_from(self.until.saturating_sub(now)).unwrap_or_default()
    }
}

/// The trials among the properties of the helper's root object; none when it tells of
/// other things.
pub(super) fn trials(from: &Properties) -> Option<Vec<Trial>> {
    from.contains_key("Unconfirmed").then(|| {
        let mut found: Vec<(String, i64)> = Vec::new();
        read(from, "Unconfirmed", &mut found);
        let found = found.into_iter();
        found
            .map(|(interface, until)| Trial { interface, until })
            .collect()
    })
}

impl Backend {
    /// Has a change of an interface of this computer last.
    ///
    /// # Errors
    /// Those of `Manager.ConfirmInterface` in the contract: `NotFound` once it was taken
    /// back.
    pub async fn confirm_host_interface(&self, interface: &str) -> Result<()> {
        let manager = ManagerProxy::new(&self.bus()?).await?;
        manager.confirm_interface(interface, HashMap::new()).await
    }

    /// Takes such a change back at once: one of the network that has the interface as its
    /// uplink, or of whichever container has it.
    ///
    /// # Errors
    /// Those of `Network.Configure`, `Manager.ListContainers`, `Interfaces.List` and
    /// `Interfaces.Revert` in the contract.
    pub async fn take_back_trial(&self, interface: &str, network: Option<&str>) -> Result<()> {
        if let Some(network) = network {
            let options = HashMap::from([("uplink", "".into())]);
            return self.network(network).await?.configure(options).await;
        }
        let manager = ManagerProxy::new(&self.bus()?).await?;
        let all = manager.list_containers(HashMap::new()).await?.into_iter();
        // Only one that runs can have it.
        for (.., container) in all.filter(|(_, _, _, init, _)| *init != 0) {
            if self.revert_wires(container.as_str(), interface).await? {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zbus::zvariant::Value;

    use super::*;

    #[test]
    fn what_is_not_told_of_stays_as_it_was() {
        let of = |key: &str, value: Vec<(&str, i64)>| {
            let value = Value::from(value).try_to_owned().unwrap();
            trials(&Properties::from([(key.to_owned(), value)]))
        };
        assert_eq!(of("Version", Vec::new()), None);
        assert_eq!(of("Unconfirmed", Vec::new()), Some(Vec::new()));
        let found = of("Unconfirmed", vec![("eth0", 1)]).unwrap();
        assert_eq!(found[0].interface, "eth0");
        assert_eq!(found[0].seconds_left(), 0);
    }
}
