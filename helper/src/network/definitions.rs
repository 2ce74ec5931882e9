//! What describes networks, in files that an administrator finds where LXC's are and
//! beside: /etc/default/lxc-net for LXC's bridge, /etc/gantry/networks/NAME.conf for
//! others. (Not below /var: they are written by people, too, and belong to what is kept
//! when a system is copied or its configuration put under version control.)

use crate::error::{ConfigFault, Error, Result};
use crate::linux::files;
use gantry_core::name::InterfaceName;
use gantry_core::networks::file::{self, DIRECTORY, SUFFIX};
use gantry_core::networks::lxc_net::{self, FILES, LxcNet};
use gantry_core::networks::{Impossible, Network};
use std::io;
use std::path::{Path, PathBuf};

/// The longest file that is read.
const LONGEST: u64 = 1024 * 1024;

/// Which file describes a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// LXC's variables.
    LxcNet,
    /// A file of its own.
    Own,
}

/// A network as it is described, or why its description cannot be used.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Its name.
    pub(crate) name: InterfaceName,
    /// What describes it.
    pub(crate) source: Source,
    /// What it is.
    pub(crate) network: Result<Network>,
}

/// Every network that is described, LXC's first, then by name.
pub(crate) fn all() -> Result<Vec<Definition>> {
    let mut found = Vec::new();
    match lxc_net() {
        Ok(LxcNet { wanted, network }) => found.push(Definition {
            name: network.name.clone(),
            source: Source::LxcNet,
            network: if wanted {
                with_own(network)
            } else {
                Err(not_wanted(&network.name))
            },
        }),
        Err(error) => found.push(Definition {
            name: InterfaceName::new("lxcbr0")?,
            source: Source::LxcNet,
            network: Err(error),
        }),
    }
    let mut names = Vec::new();
    match std::fs::read_dir(DIRECTORY) {
        Ok(entries) => names.extend(entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            InterfaceName::new(name.to_str()?.strip_suffix(SUFFIX)?).ok()
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::path("reading", Path::new(DIRECTORY), &error)),
    }
    names.sort();
    for name in names {
        if found.iter().all(|other| other.name != name) {
            found.push(Definition {
                network: own(&name),
                source: Source::Own,
                name,
            });
        }
    }
    Ok(found)
}

/// The network of a name, if one is described.
pub(crate) fn find(name: &str) -> Result<Option<Definition>> {
    let mut all = all()?.into_iter();
    Ok(all.find(|definition| definition.name.as_str() == name))
}

/// What LXC's variables say, wanted or not.
pub(crate) fn lxc_net() -> Result<LxcNet> {
    let texts = FILES.map(read).into_iter().collect::<Result<Vec<_>>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    lxc_net::read(&texts).map_err(|error| fault(Path::new("/etc/default/lxc-net"), error))
}

fn not_wanted(name: &InterfaceName) -> Error {
    Error::WrongState(format!(
        "/etc/default/lxc-net says USE_LXC_BRIDGE=\"false\", so that the network {} is not to be; set it to \"true\"",
        name.as_str()
    ))
}

fn own(name: &InterfaceName) -> Result<Network> {
    let path = file::path(name);
    file::read(name.clone(), &read(&path)?).map_err(|error| fault(Path::new(&path), error))
}

/// With what only Gantry's file has words for.
fn with_own(mut network: Network) -> Result<Network> {
    let path = file::path(&network.name);
    file::add_to(&mut network, &read(&path)?).map_err(|error| fault(Path::new(&path), error))?;
    Ok(network)
}

/// Writes what a network is from now on to where it is described.
pub(crate) fn write(source: Source, network: &Network) -> Result<()> {
    let path = file::path(&network.name);
    files::create_dirs(Path::new(DIRECTORY), 0o755)
        .map_err(|error| Error::path("making", Path::new(DIRECTORY), &error))?;
    match source {
        Source::Own => replace(&path, &file::write(&read(&path)?, network)),
        Source::LxcNet => {
            let [_, variables] = FILES;
            let text = read(variables)?;
            let old = lxc_net()?.network;
            let new = lxc_net::write(&text, &old, network);
            if new != text {
                replace(variables, &new)?;
            }
            let own = read(&path)?;
            let new = file::write_own(&own, network);
            if new == own {
                Ok(())
            } else {
                replace(&path, &new)
            }
        }
    }
}

/// Removes the file of a network's own.
pub(crate) fn delete(name: &InterfaceName) -> Result<()> {
    let path = PathBuf::from(file::path(name));
    std::fs::remove_file(&path).map_err(|error| Error::path("removing", &path, &error))
}

fn replace(path: &str, text: &str) -> Result<()> {
    let path = Path::new(path);
    files::replace(path, text.as_bytes(), 0o644)
        .map_err(|error| Error::path("writing", path, &error))
}

/// A file's text; none when it is not there.
fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let failed = |error: io::Error| Error::path("reading", path, &error);
    let bytes = files::read_if_there(path, LONGEST)
        .map_err(failed)?
        .unwrap_or_default();
    String::from_utf8(bytes).map_err(|error| failed(io::Error::other(error)))
}

fn fault(path: &Path, error: Impossible) -> Error {
    Error::InvalidConfig(ConfigFault {
        file: path.to_owned(),
        line: error.line,
        key: error.key,
        message: error.sentence,
    })
}
