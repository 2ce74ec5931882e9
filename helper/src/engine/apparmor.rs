//! The AppArmor profiles of containers whose config says `generated`: loaded before
//! the start, gone after the stop. A profile is ours if its text lies in [`DIRECTORY`];
//! LXC's own tools use the same names for what they load.

use super::{Engine, Error, Result};
use gantry_core::apparmor::{Confinement, Generated, Kernel, SECURITY_DIR};
use gantry_core::name::ContainerName;
use gantry_core::settings::Settings;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// The texts of loaded profiles, and what the parser made of them.
const DIRECTORY: &str = "/run/gantry/apparmor";
const PARSER: &str = "/usr/sbin/apparmor_parser";
/// How long the parser may take; on an emulated machine it takes seconds.
const PARSER_PATIENCE: Duration = Duration::from_secs(60);

fn kernel() -> Option<Kernel> {
    Kernel::look(|path| fs::read_to_string(path).ok())
}

fn text_of(generated: &Generated) -> PathBuf {
    Path::new(DIRECTORY).join(&generated.namespace)
}

fn namespace_directory(generated: &Generated) -> PathBuf {
    Path::new(SECURITY_DIR)
        .join("policy/namespaces")
        .join(&generated.namespace)
}

impl Engine {
    /// Whether a profile was loaded for a container and not unloaded.
    pub(super) fn has_apparmor(&self, name: &ContainerName) -> bool {
        text_of(&Generated::of(&self.layout(name))).exists()
    }

    /// Loads the profile that a container is going to start under, if it is to be
    /// generated and the kernel has AppArmor.
    pub(super) async fn load_apparmor(
        &self,
        name: &ContainerName,
        settings: &Settings,
    ) -> Result<()> {
        let Some(kernel) = kernel() else {
            return Ok(());
        };
        let layout = self.layout(name);
        let Confinement::Generated(generated) = Confinement::of(settings, &layout, &kernel) else {
            return Ok(());
        };
        let text = text_of(&generated);
        write(&text, &generated.text(settings, &kernel))
            .map_err(|error| Error::path("writing", &text, &error))?;
        parse(&text).await?;
        if kernel.stacks {
            let directory = namespace_directory(&generated);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Error::path("making", &directory, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Unloads the profile that was loaded for a container which is stopped. The kernel
    /// may hold on to it for a moment after processes were killed: try again.
    pub(super) fn unload_apparmor(&self, name: &ContainerName) -> io::Result<()> {
        let generated = Generated::of(&self.layout(name));
        let text = text_of(&generated);
        if !text.exists() {
            return Ok(());
        }
        unload(&generated)?;
        fs::remove_file(&text)
    }
}

/// Writes a text unless it is there: the parser's cache goes by the file's time.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(DIRECTORY)?;
    fs::write(path, text)
}

async fn parse(text: &Path) -> Result<()> {
    let run = Command::new(PARSER)
        .args(["--replace", "--write-cache", "--cache-loc"])
        .arg(Path::new(DIRECTORY).join("cache"))
        .arg("--")
        .arg(text)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(PARSER_PATIENCE, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::Unsupported(
                "the container's AppArmor profile cannot be loaded without apparmor_parser; install apparmor, or set lxc.apparmor.profile to another profile or unconfined".to_owned(),
            ));
        }
        Ok(Err(error)) => return Err(Error::path("running", Path::new(PARSER), &error)),
        Err(_) => {
            return Err(Error::TimedOut(format!(
                "apparmor_parser has not loaded {} within {} s; try again",
                text.display(),
                PARSER_PATIENCE.as_secs()
            )));
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Error::Failed(format!(
        "the AppArmor profile {} was refused: {}; look at lxc.apparmor.raw",
        text.display(),
        reason.split_whitespace().collect::<Vec<_>>().join(" ")
    )))
}

/// Takes profile and namespace out of the kernel; what is gone is no error.
fn unload(generated: &Generated) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    gone(fs::remove_dir(namespace_directory(generated)))?;
    gone(fs::write(
        Path::new(SECURITY_DIR).join(".remove"),
        &generated.profile,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::config::Config;
    use gantry_core::layout::ContainerLayout;

    /// Compiled only: the kernel of whoever tests need not have AppArmor.
    #[test]
    fn the_parser_takes_every_profile_that_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel {
            confines_mounts: true,
            stacks: true,
            has_default: false,
            caller_is_confined: false,
        };
        let layout = ContainerLayout::new("/var/lib/lxc", ContainerName::new("c1").unwrap());
        let raw = "lxc.apparmor.raw = deny /x rw,\n";
        let mapped = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
        for config in [
            String::new(),
            raw.to_owned(),
            mapped.to_owned(),
            format!("lxc.apparmor.allow_nesting = 1\n{mapped}"),
            "lxc.apparmor.allow_nesting = 1\n".to_owned(),
        ] {
            let read = Config::read(
                Path::new("config"),
                config.clone(),
                &mut super::super::disk::DiskIncludes,
            );
            let settings = Settings::from_config(&read).unwrap();
            let path = folder.path().join("profile");
            fs::write(&path, Generated::of(&layout).text(&settings, &kernel)).unwrap();
            let output = std::process::Command::new(PARSER)
                .args(["--skip-kernel-load", "--skip-cache", "--stdout"])
                .arg(&path)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{config}: {said}");
        }
    }
}
