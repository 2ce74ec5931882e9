//! The interface of a container's devices.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use gantry_api::Error;
use gantry_core::monitor::LentInterface;
use zbus::{interface, message::Header, zvariant::Value};

use super::{
    Bus,
    admission::{Admitted, Risk, shortened},
    error::Result,
    options::{Dictionary, Options},
};
use crate::engine::ContainerId;

/// What is served at a container's path for its devices.
pub(super) struct DevicesObject {
    pub(super) bus: Arc<Bus>,
    pub(super) id: ContainerId,
}

impl DevicesObject {
    /// Whatever the devices are, they are the host's.
    async fn admit<T>(
        &self,
        header: &Header<'_>,
        options: Dictionary,
        request: gantry_api::Result<T>,
    ) -> Result<Admitted<T>> {
        self.admit_device(header, Options::none(options).and(request))
            .await
    }

    async fn admit_device<T>(
        &self,
        header: &Header<'_>,
        request: gantry_api::Result<T>,
    ) -> Result<Admitted<T>> {
        let risk = |_: &T| Risk::Certain("device".to_owned());
        self.bus
            .admit(header, Ok(self.id.clone()), request, risk)
            .await
    }
}

#[interface(name = "io.gantry.Gantry1.Devices")]
impl DevicesObject {
    /// What the running container has beyond what every one has: type s. Of a 'node': path
    /// s, kind s (block or character), major u, minor u. Of an 'interface' of the host:
    /// name s, and host s, its name there.
    #[zbus(out_args("devices"))]
    async fn list(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<HashMap<&'static str, Value<'static>>>> {
        let admitted = self
            .bus
            .admit(&header, Ok(self.id.clone()), Ok(()), |()| Risk::None)
            .await?;
        let (nodes, lent) = self.bus.engine.devices(&admitted.id).await?;
        let nodes = nodes.into_iter().map(|node| {
            HashMap::from([
                ("type", Value::from("node")),
                ("path", node.path.into()),
                (
                    "kind",
                    if node.block { "block" } else { "character" }.into(),
                ),
                ("major", node.major.into()),
                ("minor", node.minor.into()),
            ])
        });
        let lent = lent.into_iter().map(|interface| {
            HashMap::from([
                ("type", Value::from("interface")),
                ("name", interface.name.into()),
                ("host", interface.host.into()),
            ])
        });
        Ok(nodes.chain(lent).collect())
    }

    /// Makes a device of the host, such as /dev/loop0, in the running container, below its
    /// /dev, and lets the container use it until it stops. An empty container_path is that
    /// of the host. No options. Needs io.gantry.manage-unsafe, as all here.
    async fn add_node(
        &self,
        host_path: &str,
        container_path: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let path = match container_path {
            "" => host_path,
            path => path,
        };
        let request = below_dev(path).and_then(|path| {
            if !host_path.starts_with('/') || host_path.chars().any(char::is_control) {
                return Err(Error::InvalidArgument(format!(
                    "{} is not an absolute path on the host",
                    shortened(host_path)
                )));
            }
            Ok((PathBuf::from(host_path), path))
        });
        let admitted = self.admit(&header, options, request).await?;
        let (host, path) = &admitted.request;
        Ok(self.bus.engine.add_node(&admitted.id, host, path).await?)
    }

    /// Removes a device node below /dev from the running container, and the right to use
    /// the device unless the config gives it, or List shows another node of it. No options.
    async fn remove_node(
        &self,
        container_path: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let admitted = self
            .admit(&header, options, below_dev(container_path))
            .await?;
        let Admitted { id, request, .. } = &admitted;
        Ok(self.bus.engine.remove_node(id, request).await?)
    }

    /// Moves a network interface of the host into the running container, where it has this
    /// name (an empty one: that of the host) and is down. It comes back under its old name
    /// when the container stops. Options: confirmed b (also the one by which the host reaches
    /// others, which is refused otherwise).
    async fn add_interface(
        &self,
        host: &str,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let name = if name.is_empty() { host } else { name };
        let interface = LentInterface {
            host: host.to_owned(),
            name: name.to_owned(),
        };
        let request = Options::read(options, |options| options.flag("confirmed"));
        let request = request.map(|confirmed| (interface, confirmed));
        let admitted = self.admit_device(&header, request).await?;
        let Admitted {
            id,
            request: (interface, confirmed),
            ..
        } = &admitted;
        let engine = &self.bus.engine;
        Ok(engine.lend_interface(id, interface, *confirmed).await?)
    }

    /// Moves an interface back to the host, by the name it was given in the container. No
    /// options.
    async fn remove_interface(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let admitted = self.admit(&header, options, Ok(name.to_owned())).await?;
        let Admitted { id, request, .. } = &admitted;
        Ok(self.bus.engine.return_interface(id, request).await?)
    }
}

/// A path below a container's /dev, plainly written.
fn below_dev(path: &str) -> gantry_api::Result<String> {
    const LONGEST: usize = 255;
    let rest = path.strip_prefix("/dev/").unwrap_or_default();
    let is_plain = rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if is_plain && path.len() <= LONGEST && !path.chars().any(char::is_control) {
        Ok(path.to_owned())
    } else {
        Err(Error::InvalidArgument(format!(
            "{} is not a path below /dev; write one such as /dev/sdb1",
            shortened(path)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::below_dev;

    #[test]
    fn only_plain_paths_below_dev_will_do() {
        assert_eq!(below_dev("/dev/mapper/x").unwrap(), "/dev/mapper/x");
        for bad in [
            "",
            "/dev",
            "/dev/",
            "dev/x",
            "/etc/x",
            "/dev/../etc/x",
            "/dev/a//b",
            "/dev/./x",
            "/dev/x/",
            "/dev/x\n",
        ] {
            assert!(below_dev(bad).is_err(), "{bad:?}");
        }
    }
}
