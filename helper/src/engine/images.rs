//! Images: those of servers, those in the cache, and containers of them.

use super::config::parse;
use super::create::{CreateRequest, blocking};
use super::staging::Staging;
use super::{Engine, Error, Result, Work};
use crate::image::build::{self, Tool};
use crate::image::cache::{self, Facts};
use crate::image::download;
use crate::image::id::ImageId;
use crate::image::lists;
use crate::image::metadata::{ConfigLines, Metadata, Place};
use crate::image::oci::{self, Name};
use crate::image::server::{Server, usual_proxy};
use crate::image::unpack::{self, Target};
use crate::image::{bootstrap, busybox};
use crate::linux::files;
use crate::storage::dir;
use gantry_core::idmap::IdMaps;
use gantry_core::layout::ContainerLayout;
use std::os::fd::{AsFd, OwnedFd};

/// Where scripts make their root file systems, below the staging directory.
const BUILT: &str = "built";
/// Where an archive of an image is unpacked, below the staging directory.
const LAYOUT: &str = "layout";
/// Where LXC's scripts fetch from, if not from elsewhere: whether a proxy is for that.
const TEMPLATES_SERVER: &str = "https://images.linuxcontainers.org";
/// Where the texts of a root file system are unpacked, below the staging directory.
const TEXTS: &str = "texts";
/// The most bytes of a config that a script leaves.
const MOST_CONFIG: u64 = 1 << 20;

/// An image that a server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteImage {
    /// The server's address.
    pub(crate) server: String,
    /// Which image.
    pub(crate) id: ImageId,
    /// Which build.
    pub(crate) serial: String,
    /// What people call it; may be empty.
    pub(crate) title: String,
    /// This build is in the cache.
    pub(crate) cached: bool,
}

impl Engine {
    /// What servers have; those that do not answer are left out as long as one does.
    pub(crate) async fn remote_images(
        &self,
        servers: &[Server],
        work: &Work,
    ) -> Result<Vec<RemoteImage>> {
        let cached = blocking(|| Ok(cache::list())).await?;
        let (mut found, mut last) = (Vec::new(), None);
        let mut answered = false;
        for server in servers {
            work.stage(&format!("asking {}", server.url()));
            let catalog = match lists::catalog(&self.0.programs, server, work).await {
                Ok(catalog) => catalog,
                Err(error @ Error::Cancelled(_)) => return Err(error),
                Err(error) => {
                    work.log(&error);
                    last = Some(error);
                    continue;
                }
            };
            answered = true;
            found.extend(catalog.entries.into_iter().filter_map(|entry| {
                let id = ImageId::new(
                    &entry.distribution,
                    &entry.release,
                    &entry.architecture,
                    &entry.variant,
                );
                let id = id.ok()?;
                Some(RemoteImage {
                    server: server.url().to_owned(),
                    cached: cached
                        .iter()
                        .any(|facts| facts.id == id && facts.serial == entry.serial),
                    serial: entry.serial,
                    title: entry.title,
                    id,
                })
            }));
        }
        match last {
            Some(error) if !answered => Err(error),
            _ => Ok(found),
        }
    }

    /// The images in the cache.
    pub(crate) async fn images(&self) -> Result<Vec<Facts>> {
        blocking(|| Ok(cache::list())).await
    }

    /// Takes an image out of the cache. Containers made of it stay as they are.
    pub(crate) async fn delete_image(&self, id: ImageId) -> Result<()> {
        blocking(move || cache::delete(&id)).await
    }

    /// Has the request's image at hand, if it is of one, and gives what is to be known for
    /// logging in.
    pub(super) async fn fetch_image(
        &self,
        request: &mut CreateRequest,
        work: &Work,
    ) -> Result<String> {
        if let Some(oci) = &request.oci
            && let (Some(server), Name::Registry(id)) = (&oci.registry, &oci.name)
        {
            let image = oci::obtain(&self.0.programs, server, id, oci, work).await?;
            request.oci_image = Some(image);
            return Ok(String::new());
        }
        let Some(image) = &request.image else {
            if let Some(wanted) = &request.bootstrap {
                let tar = bootstrap::obtain(&self.0.programs, wanted, work).await?;
                request.rootfs = Some(tar.into());
            }
            return Ok(match request.template.as_str() {
                "busybox" => busybox::FIRST_LOGIN,
                "debootstrap" => bootstrap::FIRST_LOGIN,
                _ => "",
            }
            .to_owned());
        };
        let image = download::obtain(&self.0.programs, image, work).await?;
        let metadata = request.metadata.insert(image.metadata);
        metadata.mapped = !request.privileged;
        request.rootfs = Some(OwnedFd::from(image.rootfs));
        let message = metadata.message();
        request.tell(&self.layout(&request.name), work);
        Ok(message)
    }

    /// Has the texts at hand that a caller gave with a root file system, if there are any.
    pub(super) async fn open_texts(
        &self,
        request: &mut CreateRequest,
        layout: &ContainerLayout,
        staging: &Staging,
        work: &Work,
    ) -> Result<()> {
        let Some(given) = request.texts.take() else {
            return Ok(());
        };
        let place = staging.path().join(TEXTS);
        let failed = |error: std::io::Error| Error::path("making", &place, &error);
        files::ensure_directory(&place, 0o700).map_err(failed)?;
        let (programs, quiet) = (&self.0.programs, work.unshown());
        let (target, maps) = (Target::directory(&place), IdMaps::default());
        unpack::unpack(programs, given, target, &maps, &[], &quiet).await?;
        let metadata = request.metadata.insert(Metadata::load(&place)?);
        metadata.mapped = !request.privileged;
        request.tell(layout, work);
        dir::remove(&place).map_err(failed)
    }

    /// Has the image at hand that a caller gave, if the request is of one.
    pub(super) async fn open_layout(
        &self,
        request: &mut CreateRequest,
        staging: &Staging,
        work: &Work,
    ) -> Result<()> {
        let Some(oci) = &request.oci else {
            return Ok(());
        };
        let Some(given) = request.rootfs.take() else {
            return Ok(());
        };
        let scratch = staging.path().join(LAYOUT);
        let failed = |error: std::io::Error| Error::path("making", &scratch, &error);
        files::ensure_directory(&scratch, 0o700).map_err(failed)?;
        let image = oci::open(&self.0.programs, given, &scratch, oci, work).await?;
        request.oci_image = Some(image);
        // What is open stays until it is unpacked.
        dir::remove(&scratch).map_err(failed)
    }

    /// Has the request's script make the root file system, if it is of one, and gives the
    /// config that it leaves its place, with `rootfs` for `lxc.rootfs.path`. What it makes is
    /// unpacked as an archive is.
    pub(super) async fn run_script(
        &self,
        request: &mut CreateRequest,
        layout: &ContainerLayout,
        rootfs: &str,
        staging: &Staging,
        work: &Work,
    ) -> Result<()> {
        if request.is_built_in() {
            return Ok(());
        }
        work.stage(&format!("running the template {}", request.template));
        let tree = staging.path().join(BUILT);
        files::ensure_directory(&tree, 0o755)
            .map_err(|error| Error::path("making", &tree, &error))?;
        let mut arguments = vec![
            format!("--path={}", staging.path().display()),
            format!("--name={}", request.name),
            format!("--rootfs={}", tree.display()),
        ];
        arguments.extend(request.template_args.iter().cloned());
        let tool = Tool {
            program: build::script(&request.template)?,
            arguments,
            proxy: usual_proxy(TEMPLATES_SERVER).unwrap_or_default(),
        };
        tool.run(&self.0.programs, staging.path(), work).await?;
        let path = staging.path().join("config");
        let (file, _) =
            files::open_regular(&path).map_err(|error| Error::path("reading", &path, &error))?;
        let bytes = files::read_bounded(&file, MOST_CONFIG)
            .map_err(|error| Error::path("reading", &path, &error))?;
        let text = String::from_utf8_lossy(&bytes)
            .replace(&format!("dir:{}", tree.display()), rootfs)
            .replace(&*tree.to_string_lossy(), &layout.rootfs().to_string_lossy())
            .replace(
                &*staging.path().to_string_lossy(),
                &layout.directory().to_string_lossy(),
            );
        parse(&layout.config(), &text)?;
        files::replace(&path, text.as_bytes(), 0o640)
            .map_err(|error| Error::path("writing", &path, &error))?;
        request.rootfs = Some(build::stream(&self.0.programs, &tree)?);
        Ok(())
    }
}

impl CreateRequest {
    /// Says what the image has to say, and what of it is left out.
    fn tell(&self, layout: &ContainerLayout, work: &Work) {
        let message = self.metadata.as_ref().map(Metadata::message);
        for line in message.unwrap_or_default().lines() {
            work.log(line);
        }
        for line in self.image_config(layout).left_out {
            work.log(format!("the image's '{line}' is left out: it needs what is not here, or equals root on the host"));
        }
    }

    /// What the image has the config say.
    pub(super) fn image_config(&self, layout: &ContainerLayout) -> ConfigLines {
        if let Some(settled) = &self.settled {
            return ConfigLines {
                text: settled.lines.clone(),
                includes: settled.includes,
                left_out: Vec::new(),
            };
        }
        let (directory, rootfs) = (layout.directory(), layout.rootfs());
        let place = Place {
            name: layout.name().as_str(),
            directory: &directory,
            rootfs: &rootfs,
        };
        self.metadata
            .as_ref()
            .map(|metadata| metadata.config(place))
            .unwrap_or_default()
    }

    /// What of the image is not to be unpacked.
    pub(super) fn excludes(&self) -> Vec<String> {
        self.metadata
            .as_ref()
            .map(Metadata::excludes)
            .unwrap_or_default()
    }

    /// Makes what was unpacked this container's: its name is put in place, and what it was
    /// unpacked from goes. `owner` are the host's ids of its root.
    pub(super) fn settle(
        &self,
        root: &OwnedFd,
        layout: &ContainerLayout,
        staging: &Staging,
        owner: (u32, u32),
    ) -> Result<()> {
        let built = staging.path().join(BUILT);
        dir::remove(&built).map_err(|error| Error::path("removing", &built, &error))?;
        if self.bootstrap.is_some() {
            bootstrap::settle(root, self.name.as_str(), owner)?;
        }
        let directory = layout.directory();
        let rootfs = self.wish.directory.clone();
        let rootfs = rootfs.unwrap_or_else(|| layout.rootfs());
        let place = Place {
            name: layout.name().as_str(),
            directory: &directory,
            rootfs: &rootfs,
        };
        match &self.metadata {
            Some(metadata) => metadata.put_in_place(root.as_fd(), place),
            None => Ok(()),
        }
    }
}
