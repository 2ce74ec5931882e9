use std::collections::HashMap;

use gantry_api::{ManagerProxy, Result};

use super::{
    Backend, Unwanted,
    properties::{Properties, read},
};

/// A root file system that a server offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The server.
    pub server: String,
    /// The proxy by which it was asked; empty: none, or the helper's own.
    pub proxy: String,
    /// What it is of: `debian`, `alpine`…
    pub distribution: String,
    /// Its release.
    pub release: String,
    /// The architecture, in the server's words.
    pub architecture: String,
    /// Which of several: `default`, `cloud`…
    pub variant: String,
    /// When it was made, in the server's words.
    pub serial: String,
    /// Whether it need not be downloaded.
    pub cached: bool,
}

impl Image {
    fn of(from: &Properties) -> Self {
        let mut image = Self::default();
        read(from, "server", &mut image.server);
        read(from, "distribution", &mut image.distribution);
        read(from, "release", &mut image.release);
        read(from, "architecture", &mut image.architecture);
        read(from, "variant", &mut image.variant);
        read(from, "serial", &mut image.serial);
        read(from, "cached", &mut image.cached);
        image
    }

    /// It in a few words.
    #[must_use]
    pub fn words(&self) -> String {
        [self.distribution.as_str(), &self.release, &self.variant].join(" ")
    }
}

impl Backend {
    /// What a server, or the usual ones where the name is empty, have for this computer,
    /// asked by a proxy where that is not empty; none when nobody wants to know any more.
    ///
    /// # Errors
    /// Those of `Manager.ListRemoteImages` in the contract, and those of its job.
    pub async fn images(
        &self,
        (server, proxy): (&str, &str),
        unwanted: Unwanted,
    ) -> Result<Option<Vec<Image>>> {
        let manager = ManagerProxy::new(&self.bus()?).await?;
        let mut options = HashMap::new();
        if !proxy.is_empty() {
            options.insert("proxy", proxy.into());
        }
        let job = manager.list_remote_images(server, options).await?;
        let outcome = self.outcome(&job, unwanted).await?;
        Ok(outcome.map(|outcome| {
            let mut found: Vec<Properties> = Vec::new();
            read(&outcome, "images", &mut found);
            let by_proxy = |mut image: Image| {
                proxy.clone_into(&mut image.proxy);
                image
            };
            found.iter().map(Image::of).map(by_proxy).collect()
        }))
    }
}
