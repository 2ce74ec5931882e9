use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use gantry_api::{Error, ManagerProxy, Result};
use zbus::zvariant::{Fd, Value};

use super::{Backend, Image, words};
use crate::text::tr;

/// What a new container is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Template {
    /// The helper's own small system; needs no network.
    #[default]
    Busybox,
    /// An image of a server.
    Image(Image),
    /// A release of Debian or Ubuntu, package by package.
    Debootstrap,
    /// A root file system in a tar archive.
    Archive(PathBuf),
    /// An image of a registry, which the words say.
    Registry,
    /// An image of OCI in a tar archive.
    OciArchive(PathBuf),
    /// A script of LXC's, by its name.
    Script(String),
}

/// A container to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewContainer {
    /// Its name.
    pub name: String,
    /// What it is made from.
    pub template: Template,
    /// What is passed on to the template, as one types it.
    pub arguments: String,
    /// Options of the contract that are words; those without one are left out.
    pub words: Vec<(&'static str, String)>,
    /// The bytes of a root file system that has a size; none: the usual number.
    pub size: Option<u64>,
    /// Lines for its configuration.
    pub config: Vec<String>,
    /// Whether an image may be one that is not signed with a known key.
    pub untrusted: bool,
    /// Whether root inside is root on the host.
    pub privileged: bool,
    /// Whether it is removed when it stops.
    pub ephemeral: bool,
    /// Whether it is started once it is there.
    pub start: bool,
}

impl Backend {
    /// What this helper can do beyond what every version can.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn features(&self) -> Result<Vec<String>> {
        let manager = ManagerProxy::new(&self.bus()?).await?;
        Ok(manager.features().await?)
    }

    /// Makes a container; the job's path.
    ///
    /// # Errors
    /// Those of `CreateContainer` in the contract, and `InvalidArgument` when the archive cannot be opened.
    pub async fn create(&self, new: NewContainer) -> Result<String> {
        let manager = ManagerProxy::new(&self.bus()?).await?;
        let mut options: HashMap<&str, Value<'_>> = HashMap::new();
        let template = match &new.template {
            Template::Busybox => "busybox",
            Template::Debootstrap => "debootstrap",
            Template::Script(name) => name,
            Template::Archive(path) => {
                let archive = open(path)?;
                options.insert("rootfs", Fd::from(archive).into());
                "local"
            }
            Template::Registry => {
                // Nothing vouches for a tag; whoever may allow that is asked.
                let digest =
                    |(key, word): &(&str, String)| *key == "release" && word.starts_with("sha256:");
                options.insert("untrusted", (!new.words.iter().any(digest)).into());
                "oci"
            }
            Template::OciArchive(path) => {
                let archive = open(path)?;
                options.insert("rootfs", Fd::from(archive).into());
                "oci"
            }
            Template::Image(image) => {
                let words = [
                    ("server", &image.server),
                    ("distribution", &image.distribution),
                    ("release", &image.release),
                    ("architecture", &image.architecture),
                    ("variant", &image.variant),
                ];
                options.extend(words.map(|(key, word)| (key, word.as_str().into())));
                if !image.proxy.is_empty() {
                    options.insert("proxy", image.proxy.as_str().into());
                }
                if new.untrusted {
                    options.insert("untrusted", true.into());
                }
                "download"
            }
        };
        options.insert("template", template.into());
        let given = new.words.iter().filter(|(_, word)| !word.is_empty());
        options.extend(given.map(|(key, word)| (*key, word.as_str().into())));
        if !new.arguments.is_empty() {
            let arguments = words::split(&new.arguments).map_err(Error::InvalidArgument)?;
            options.insert("template_args", arguments.into());
        }
        if let Some(size) = new.size {
            options.insert("fssize", size.into());
        }
        if !new.config.is_empty() {
            options.insert("config", new.config.clone().into());
        }
        options.insert("privileged", new.privileged.into());
        options.insert("ephemeral", new.ephemeral.into());
        options.insert("start", new.start.into());
        let job = manager.create_container(&new.name, options).await?;
        Ok(job.to_string())
    }
}

/// Opens a file that is read from its beginning.
pub(super) fn open(path: &Path) -> Result<OwnedFd> {
    let file = File::open(path).map_err(|error| {
        let sentence = tr("The archive {path} cannot be opened: {error}.");
        Error::InvalidArgument(filled(&sentence, path, &error))
    })?;
    Ok(file.into())
}

/// Opens a file that is written anew.
pub(super) fn write(path: &Path) -> Result<OwnedFd> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .map_err(|error| {
            let sentence = tr("The file {path} cannot be written: {error}.");
            Error::InvalidArgument(filled(&sentence, path, &error))
        })?;
    Ok(file.into())
}

fn filled(sentence: &str, path: &Path, error: &std::io::Error) -> String {
    sentence
        .replace("{path}", &path.display().to_string())
        .replace("{error}", &error.to_string())
}
