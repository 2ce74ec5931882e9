//! Logs of containers.

use super::client::Client;
use super::disk;
use super::{ContainerId, Engine, Error, Result};
use crate::linux::{files, memfd};
use gantry_core::states::State;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The end of a log file that is copied.
const MAX_LOG: u64 = 16 << 20;

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogKind {
    /// What was written to the container's console.
    Console,
    /// What its monitor wrote about it.
    Container,
}

impl Engine {
    /// A log to read from its beginning: a sealed copy of at most the last
    /// 16 MiB. One that nothing was written to is empty.
    pub(crate) async fn read_log(&self, id: &ContainerId, kind: LogKind) -> Result<OwnedFd> {
        let facts = self.get(id).await?;
        let layout = self.layout(&id.name);
        let file = |key: &str| -> Option<PathBuf> {
            disk::read_config(&layout.config())
                .ok()?
                .config
                .get(key)
                .map(PathBuf::from)
        };
        let bytes = match kind {
            LogKind::Container => {
                read_end(&file("lxc.log.file").unwrap_or_else(|| layout.log_file()))?
            }
            LogKind::Console => {
                let buffer = match facts.state {
                    State::Stopped => None,
                    _ => match Client::new(&layout).console_log().await {
                        Err(Error::Unsupported(_)) => None,
                        result => Some(result?.unwrap_or_default()),
                    },
                };
                match (buffer, file("lxc.console.logfile")) {
                    (Some(buffer), _) => buffer,
                    (None, Some(path)) => read_end(&path)?,
                    (None, None) => {
                        return Err(Error::Unsupported(format!(
                            "nothing keeps what container '{}' writes to its console; start it with Gantry, or set \
                             lxc.console.logfile",
                            id.name
                        )));
                    }
                }
            }
        };
        memfd::sealed_bytes("log", &bytes).map_err(|error| Error::io("copying the log", &error))
    }
}

fn read_end(path: &Path) -> Result<Vec<u8>> {
    use std::io::{Seek, SeekFrom};
    let (mut file, metadata) = match files::open_regular(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::path("reading", path, &error)),
    };
    let failed = |error: std::io::Error| Error::path("reading", path, &error);
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(MAX_LOG)))
        .map_err(failed)?;
    // It may grow while it is read.
    files::read_bounded(&file, 2 * MAX_LOG).map_err(failed)
}
