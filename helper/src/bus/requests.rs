//! What callers ask for, read from arguments and options before anything happens.

use std::{os::fd::OwnedFd, path::PathBuf, time::Duration};

use gantry_api::Error;
use gantry_core::monitor::Elevation;
use gantry_core::{name::ContainerName, namespaces::Namespace, states::State};

use super::{
    admission::shortened,
    images::choose_image,
    options::{Dictionary, Options},
};
use crate::engine::{
    CloneOptions, Compression, CreateRequest, ExecuteRequest, ExportOptions, Format, ImportRequest,
    Size, StopOptions, Wish,
};

/// The most bytes of config text in one request: parsing it comes before the question
/// whether the caller may.
const MOST_TEXT: usize = 1 << 20;

/// Refuses config text that no person has written.
pub(super) fn fitting<'t>(texts: impl IntoIterator<Item = &'t String>) -> gantry_api::Result<()> {
    let bytes: usize = texts.into_iter().map(String::len).sum();
    if bytes > MOST_TEXT {
        return Err(Error::InvalidArgument(format!(
            "{bytes} bytes of config are too many; {MOST_TEXT} can be given at once"
        )));
    }
    Ok(())
}

/// The name of a container that is to be.
pub(super) fn new_name(name: &str) -> gantry_api::Result<ContainerName> {
    ContainerName::new_host(name)
        .map_err(|error| Error::InvalidName(format!("{}: {error}", shortened(name))))
}

/// The states to wait for.
pub(super) fn read_states(words: &[String]) -> gantry_api::Result<Vec<State>> {
    if words.is_empty() {
        return Err(Error::InvalidArgument(
            "no state to wait for was given; give one or more".into(),
        ));
    }
    let state = |word: &String| {
        State::from_word(word).ok_or_else(|| {
            let known: Vec<_> = State::ALL.iter().map(|state| state.word()).collect();
            Error::InvalidArgument(format!(
                "there is no state {}; there are {}",
                shortened(word),
                known.join(", ")
            ))
        })
    };
    words.iter().map(state).collect()
}

/// The options columns and rows.
pub(super) fn size(options: &mut Options) -> gantry_api::Result<Size> {
    let default = Size::default();
    Ok(Size {
        columns: options.take("columns")?.unwrap_or(default.columns),
        rows: options.take("rows")?.unwrap_or(default.rows),
    })
}

/// The arguments and options of Execute.
pub(super) fn execute_request(
    argv: Vec<String>,
    options: &mut Options,
) -> gantry_api::Result<ExecuteRequest> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(Error::InvalidArgument(
            "no program was given; the first argument is its name or path".into(),
        ));
    }
    let env: Vec<String> = options.take("env")?.unwrap_or_default();
    if let Some(wrong) = env.iter().find(|entry| {
        entry
            .split_once('=')
            .is_none_or(|(name, _)| name.is_empty())
    }) {
        return Err(Error::InvalidArgument(format!(
            "{} in env is not NAME=VALUE",
            shortened(wrong)
        )));
    }
    if options.flag("keep_env")? {
        return Err(Error::Unsupported(
            "the environment of a caller does not come over the bus; name what is needed in env"
                .into(),
        ));
    }
    let namespaces = options
        .take::<Vec<String>>("namespaces")?
        .map(|words| read_namespaces(&words))
        .transpose()?;
    let size = size(options)?;
    Ok(ExecuteRequest {
        argv,
        env,
        cwd: options.take("cwd")?,
        uid: options.take("uid")?.unwrap_or_default(),
        gid: options.take("gid")?.unwrap_or_default(),
        namespaces,
        elevated: elevation(options)?,
        pty: options.flag("pty")?.then_some(size),
    })
}

fn elevation(options: &mut Options) -> gantry_api::Result<Elevation> {
    let mut elevation = match options.flag("elevated")? {
        true => Elevation::ALL,
        false => Elevation::default(),
    };
    for word in options.take::<Vec<String>>("elevate")?.unwrap_or_default() {
        if !elevation.add(&word) {
            return Err(Error::InvalidArgument(format!(
                "{} cannot be elevated; there are CGROUP, CAP and LSM",
                shortened(&word)
            )));
        }
    }
    Ok(elevation)
}

fn read_namespaces(words: &[String]) -> gantry_api::Result<Vec<Namespace>> {
    let namespace = |word: &String| {
        Namespace::parse(word).ok_or_else(|| {
            let known: Vec<_> = Namespace::ALL.iter().map(|kind| kind.proc_name()).collect();
            Error::InvalidArgument(format!(
                "there is no namespace {}; there are {}",
                shortened(word),
                known.join(", ")
            ))
        })
    };
    words.iter().map(namespace).collect()
}

/// The options of CreateContainer.
pub(super) fn create_request(name: &str, options: Dictionary) -> gantry_api::Result<CreateRequest> {
    let name = new_name(name)?;
    Options::read(options, |options| {
        let rootfs = options.take::<OwnedFd>("rootfs")?;
        let template = options.take::<String>("template")?;
        let template = template.unwrap_or_else(|| match rootfs {
            Some(_) => "local".to_owned(),
            None => "busybox".to_owned(),
        });
        match options.take::<String>("owner")?.as_deref() {
            None | Some("system") => {}
            Some("self") => {
                return Err(Error::Unsupported(
                    "this version makes system containers only; leave the option \"owner\" out"
                        .into(),
                ));
            }
            Some(other) => {
                return Err(Error::InvalidArgument(format!(
                    "there is no owner {}; there are system and self",
                    shortened(other)
                )));
            }
        }
        let mut request = CreateRequest::new(name, &template);
        request.rootfs = rootfs;
        request.texts = options.take("metadata")?;
        if request.texts.is_some() && template != "local" {
            return Err(Error::InvalidArgument(format!(
                "the template '{template}' takes no option \"metadata\"; leave it out, or choose local"
            )));
        }
        choose_image(options, &mut request)?;
        if let Some(backend) = options.take("backend")? {
            request.backend = backend;
        }
        request.wish.directory = options.take::<String>("dir")?.map(PathBuf::from);
        read_wish(options, &mut request.wish)?;
        request.privileged = options.flag("privileged")?;
        request.config = options.take("config")?.unwrap_or_default();
        fitting(&request.config)?;
        request.start = options.flag("start")?;
        request.ephemeral = options.flag("ephemeral")?;
        Ok(request)
    })
}

/// What a root file system is to be like on its backend.
fn read_wish(options: &mut Options, wish: &mut Wish) -> gantry_api::Result<()> {
    wish.fstype = options.take("fstype")?;
    wish.fssize = options.take("fssize")?;
    wish.lvname = options.take("lvname")?;
    wish.vgname = options.take("vgname")?;
    wish.thinpool = options.take("thinpool")?;
    wish.zfsroot = options.take("zfsroot")?;
    Ok(())
}

/// The name and options of Clone.
pub(super) fn clone_request(
    name: &str,
    options: Dictionary,
) -> gantry_api::Result<(ContainerName, CloneOptions)> {
    let name = new_name(name)?;
    Options::read(options, |options| {
        let options = CloneOptions {
            snapshot: options.flag("snapshot")?,
            backend: options.take("backend")?,
            fssize: options.take("fssize")?,
            keep_mac: options.flag("keep_mac")?,
            keep_name: options.flag("keep_name")?,
            ephemeral: options.flag("ephemeral")?,
            start: options.flag("start")?,
            hooks: Some(options.take("hook_arguments")?.unwrap_or_default()),
        };
        Ok((name, options))
    })
}

/// The target and options of Export.
pub(super) fn export_request(
    target: OwnedFd,
    options: Dictionary,
) -> gantry_api::Result<(OwnedFd, ExportOptions)> {
    let unknown = |what: &str, given: &str, known: &str| {
        let given = shortened(given);
        Error::InvalidArgument(format!("there is no {what} {given}; there are {known}"))
    };
    Options::read(options, |options| {
        let compression = options.take::<String>("compression")?;
        let compression = compression.as_deref().unwrap_or("zstd");
        let format = options.take::<String>("format")?;
        let options = ExportOptions {
            compression: Compression::by_name(compression)
                .ok_or_else(|| unknown("compression", compression, "zstd, gzip, xz and none"))?,
            snapshots: options.flag("snapshots")?,
            format: match format.as_deref() {
                None | Some("gantry") => Format::Gantry,
                Some("tar") => Format::Tar,
                Some(other) => return Err(unknown("format", other, "gantry and tar")),
            },
        };
        Ok((target, options))
    })
}

/// The arguments and options of ImportContainer.
pub(super) fn import_request(
    archive: OwnedFd,
    name: &str,
    options: Dictionary,
) -> gantry_api::Result<ImportRequest> {
    Options::read(options, |options| {
        let name = new_name(name)?;
        let mut wish = Wish::new(name.clone());
        read_wish(options, &mut wish)?;
        Ok(ImportRequest {
            archive,
            name,
            allow_unsafe: options.flag("allow_unsafe")?,
            keep_mac: options.flag("keep_mac")?,
            backend: options.take("backend")?.unwrap_or_else(|| "dir".to_owned()),
            wish,
        })
    })
}

/// The options of Stop and Reboot.
pub(super) fn stop_options(options: Dictionary) -> gantry_api::Result<StopOptions> {
    Options::read(options, |options| {
        Ok(StopOptions {
            force: options.flag("force")?,
            timeout: timeout(options)?,
        })
    })
}

/// The option timeout_ms: how long a clean stop or reboot may take.
pub(super) fn timeout(options: &mut Options) -> gantry_api::Result<Duration> {
    let Some(milliseconds) = options.take::<i64>("timeout_ms")? else {
        return Ok(StopOptions::default().timeout);
    };
    u64::try_from(milliseconds)
        .map(Duration::from_millis)
        .map_err(|_| {
            Error::InvalidArgument(format!(
                "the option \"timeout_ms\" is {milliseconds}; give 0 or more"
            ))
        })
}
