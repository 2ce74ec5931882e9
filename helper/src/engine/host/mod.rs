//! What the host can do, judged by what is there, with a remedy for what is not:
//! all that lxc-checkconfig(1) looks at, and what it cannot know.
//!
//! Findings are sentences. One that is not well says what does not work and ends
//! with the remedy; a command to run stands in “quotation marks”.

mod cgroups;
mod features;
mod ids;
mod kernel;
mod network;
mod security;
mod services;
mod storage;
mod tools;

use super::create::blocking;
use super::{Engine, Error, HostInterface, Result};
use crate::network::interfaces;
use std::path::Path;

/// Something that was looked at on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// A group of findings: one of [`topic`].
    pub(crate) topic: &'static str,
    /// What was looked at.
    pub(crate) item: String,
    /// What was found and, when it is not well, the remedy.
    pub(crate) finding: String,
    /// Whether all is well.
    pub(crate) ok: bool,
}

/// The groups of findings.
mod topic {
    pub(super) const KERNEL: &str = "kernel";
    pub(super) const CGROUPS: &str = "cgroups";
    pub(super) const IDS: &str = "ids";
    pub(super) const TOOLS: &str = "tools";
    pub(super) const NETWORK: &str = "network";
    pub(super) const SERVICES: &str = "services";
    pub(super) const STORAGE: &str = "storage";
    pub(super) const SECURITY: &str = "security";
    /// What only some containers need: its lack is nobody's fault.
    pub(super) const EXTRAS: &str = "extras";
}

/// What is well, or what is not and the remedy.
type Verdict = std::result::Result<String, String>;

/// The findings so far.
#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, topic: &'static str, item: &str, verdict: Verdict) {
        let ok = verdict.is_ok();
        let finding = verdict.unwrap_or_else(|problem| problem);
        self.0.push(Finding {
            topic,
            item: item.to_owned(),
            finding,
            ok,
        });
    }
}

impl Engine {
    /// What the host can and cannot do, and what of it the user `uid` has.
    pub(crate) async fn check_host(&self, uid: u32) -> Result<Vec<Finding>> {
        let links = self.host_interfaces().await?;
        let defaults = super::config::read_defaults();
        let lxc_path = self.lxc_path().to_owned();
        blocking(move || {
            let mut report = Report::default();
            let kernel = kernel::Kernel::read();
            kernel::check(&mut report, &kernel);
            features::check(&mut report, &kernel);
            cgroups::check(&mut report, &kernel);
            ids::check(&mut report, uid);
            tools::check(&mut report);
            network::check(&mut report, &links, defaults);
            services::check(&mut report);
            storage::check(&mut report, &kernel, Path::new(&lxc_path));
            security::check(&mut report, &kernel);
            Ok(report.0)
        })
        .await
    }

    /// The host's network interfaces, but for `lo`.
    pub(crate) async fn host_interfaces(&self) -> Result<Vec<HostInterface>> {
        interfaces::list()
            .await
            .map_err(|error| Error::io("listing the network interfaces", &error))
    }
}

/// The text of a file of the kernel's, without the newline at its end.
fn read(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim_end().to_owned())
}

/// The remedy for a missing package, by Debian's names.
fn install(packages: &str) -> String {
    format!("Run “apt install {packages}”.")
}
