//! Making containers.

use super::{ContainerId, Engine, Error, Result, Work};
use gantry_core::name::ContainerName;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What container to make. Options that the contract has and this version
/// does not act on are refused by whoever builds this.
#[derive(Debug)]
pub(crate) struct CreateRequest {
    /// Its name, [`ContainerName::new_host`].
    pub(crate) name: ContainerName,
    /// `busybox` or `local`.
    pub(crate) template: String,
    /// For `local`: a tar stream (file, pipe or socket), plain or compressed
    /// with gzip, bzip2, xz or zstd.
    pub(crate) rootfs: Option<OwnedFd>,
    /// Where to store the root file system: `dir` or `best`.
    pub(crate) backend: String,
    /// For `dir`: the directory to hold the root file system instead of
    /// `rootfs` beside the config. It must not exist, its parent must.
    pub(crate) directory: Option<PathBuf>,
    /// Without an id map: root in the container is root on the host.
    pub(crate) privileged: bool,
    /// More lines for its config, `key = value`.
    pub(crate) config: Vec<String>,
    /// A value for `lxc.arch`.
    pub(crate) architecture: Option<String>,
    /// Start it when it is made.
    pub(crate) start: bool,
    /// Destroy it when it stops (`lxc.ephemeral`).
    pub(crate) ephemeral: bool,
}

impl CreateRequest {
    /// The request for a container from `template` with everything else as
    /// new containers have it.
    pub(crate) fn new(name: ContainerName, template: &str) -> Self {
        Self {
            name,
            template: template.to_owned(),
            rootfs: None,
            backend: "dir".to_owned(),
            directory: None,
            privileged: false,
            config: Vec::new(),
            architecture: None,
            start: false,
            ephemeral: false,
        }
    }
}

impl Engine {
    /// Refuses what [`Engine::create`] would refuse before its first change:
    /// for an answer before a job is made of it.
    pub(crate) async fn check_create(&self, _request: &CreateRequest) -> Result<()> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// What in the request equals root on the host (`privileged`, a directory
    /// elsewhere, config keys). Empty: it is in the safe subset.
    pub(crate) fn unsafe_create(&self, _request: &CreateRequest) -> Result<Vec<String>> {
        Err(Error::Unsupported("not yet".into()))
    }

    /// Makes a container. Until it returns there is none of that name, and
    /// when it fails or is cancelled nothing is left.
    pub(crate) async fn create(
        &self,
        _request: CreateRequest,
        _work: &Work,
    ) -> Result<ContainerId> {
        Err(Error::Unsupported("not yet".into()))
    }
}
