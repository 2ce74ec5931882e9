//! Images: an object for each in the cache, and what servers have.

use std::{collections::HashMap, sync::Arc};

use gantry_api::{Error, action, image_path};
use tokio::sync::Mutex;
use tracing::warn;
use zbus::{
    interface,
    message::Header,
    zvariant::{OwnedObjectPath, Value},
};

use super::{
    Bus, Properties,
    admission::shortened,
    authorization::Details,
    error::{Result, from_engine},
    jobs::Outcome,
    options::{Dictionary, Options},
};
use crate::engine::{
    BootstrapRequest, CreateRequest, Freshness, ImageFacts, ImageId, ImageRequest, Login, OciName,
    OciRequest, RemoteImage, Server, own_architecture, registry,
};

/// The images on the bus, with the facts that were announced last.
#[derive(Default)]
pub(super) struct Images {
    known: Mutex<HashMap<OwnedObjectPath, ImageFacts>>,
}

/// An image in the cache.
struct ImageObject {
    bus: Arc<Bus>,
    facts: ImageFacts,
    path: OwnedObjectPath,
}

#[interface(name = "io.gantry.Gantry1.Image")]
impl ImageObject {
    /// Takes the image out of the cache; containers that were made of it stay as they
    /// are. No options.
    async fn delete(&self, options: Dictionary, #[zbus(header)] header: Header<'_>) -> Result<()> {
        let caller = self.bus.callers.identify(&header).await?;
        let details = Details::default();
        self.bus
            .authority
            .permit(&caller, &header, Options::none(options), &details)
            .await?;
        let deleted = self.bus.engine.delete_image(self.facts.id.clone()).await;
        self.bus.show_images().await;
        Ok(deleted?)
    }

    /// The distribution: debian, alpine, …
    #[zbus(property(emits_changed_signal = "const"))]
    fn distribution(&self) -> &str {
        &self.facts.id.distribution
    }

    /// The distribution's release.
    #[zbus(property(emits_changed_signal = "const"))]
    fn release(&self) -> &str {
        &self.facts.id.release
    }

    /// The architecture, as Debian calls it: amd64, arm64, …
    #[zbus(property(emits_changed_signal = "const"))]
    fn architecture(&self) -> &str {
        &self.facts.id.architecture
    }

    /// The variant; 'default' where there is but one.
    #[zbus(property(emits_changed_signal = "const"))]
    fn variant(&self) -> &str {
        &self.facts.id.variant
    }

    /// Which build it is.
    #[zbus(property)]
    async fn serial(&self) -> String {
        self.now().await.serial
    }

    /// Bytes on the disk.
    #[zbus(property)]
    async fn size(&self) -> u64 {
        self.now().await.size
    }

    /// When a container was last made of it, in seconds since 1970.
    #[zbus(property)]
    async fn last_used(&self) -> i64 {
        self.now().await.last_used
    }
}

impl ImageObject {
    async fn now(&self) -> ImageFacts {
        let known = self.bus.images.known.lock().await;
        known.get(&self.path).unwrap_or(&self.facts).clone()
    }
}

impl Bus {
    /// Puts on the bus what lies in the cache, and takes off what does not any more.
    pub(super) async fn show_images(self: &Arc<Self>) {
        let mut known = self.images.known.lock().await;
        let list = match self.engine.images().await {
            Ok(list) => list,
            Err(error) => return warn!(%error, "could not list the images"),
        };
        let now: HashMap<OwnedObjectPath, ImageFacts> = list
            .into_iter()
            .map(|facts| (image_path(&facts.id.word()), facts))
            .collect();
        let before = std::mem::replace(&mut *known, now.clone());
        // Getters wait for the lock.
        drop(known);
        let server = self.connection.object_server();
        for path in before.keys().filter(|path| !now.contains_key(*path)) {
            if let Err(error) = server.remove::<ImageObject, _>(path).await {
                warn!(%error, %path, "could not take an image off the bus");
            }
        }
        for (path, facts) in now {
            match before.get(&path) {
                Some(old) => {
                    self.announce::<ImageObject>(&path, &properties(old), properties(&facts))
                        .await
                }
                None => {
                    let object = ImageObject {
                        bus: self.clone(),
                        facts,
                        path: path.clone(),
                    };
                    if let Err(error) = server.at(&path, object).await {
                        warn!(%error, %path, "could not put an image on the bus");
                    }
                }
            }
        }
    }

    /// Manager.ListRemoteImages.
    pub(super) async fn list_remote_images(
        self: &Arc<Self>,
        header: &Header<'_>,
        server: &str,
        options: Dictionary,
    ) -> Result<OwnedObjectPath> {
        let request = remote_request(server, options);
        let caller = self.callers.identify(header).await?;
        let known = Server::known();
        let details = match &request {
            // Those whom an administrator has chosen may be asked by whoever looks around,
            // through no other's proxy.
            Ok((servers, ..)) if servers.iter().all(|server| known.contains(server)) => {
                Details::default().instead(action::INSPECT)
            }
            _ => Details::default(),
        };
        let (servers, only) = self
            .authority
            .permit(&caller, header, request, &details)
            .await?;
        let bus = self.clone();
        self.start_job(&caller, "ListRemoteImages", &[], |work| async move {
            let mut images = bus.engine.remote_images(&servers, &work).await?;
            images.retain(|image| only.is_none_or(|only| image.id.architecture == only));
            let images: Vec<Properties> = images.into_iter().map(entry).collect();
            Ok(Outcome::from([("images", Value::from(images))]))
        })
        .await
    }
}

/// The arguments of ListRemoteImages: whom to ask, and for which architecture alone.
fn remote_request(
    server: &str,
    options: Dictionary,
) -> gantry_api::Result<(Vec<Server>, Option<&'static str>)> {
    let (all, proxy) = Options::read(options, |options| {
        Ok((
            options.flag("all_architectures")?,
            options.take::<String>("proxy")?,
        ))
    })?;
    let mut servers = match server {
        "" => Server::known(),
        server => vec![Server::parse(server).map_err(from_engine)?],
    };
    if let Some(proxy) = proxy {
        servers = servers
            .into_iter()
            .map(|server| server.through(&proxy))
            .collect();
    }
    Ok((servers, (!all).then(own_architecture)))
}

/// The options of CreateContainer that say what a template is to make.
pub(super) fn choose_image(
    options: &mut Options,
    request: &mut CreateRequest,
) -> gantry_api::Result<()> {
    let template = request.template.clone();
    let mut word = |name| options.take::<String>(name);
    let server = word("server")?;
    let [distribution, release, variant] =
        [word("distribution")?, word("release")?, word("variant")?];
    let (architecture, mirror) = (word("architecture")?, word("mirror")?);
    let (cache, proxy) = (word("cache")?, word("proxy")?);
    let [username, password] = [word("username")?, word("password")?];
    request.template_args = options.take("template_args")?.unwrap_or_default();
    let untrusted = options.flag("untrusted")?;
    let (downloads, bootstraps) = (template == "download", template == "debootstrap");
    let oci = template == "oci";
    // What a caller gives is in no registry.
    let fetches = downloads || (oci && request.rootfs.is_none());
    let misplaced = [
        (
            "distribution",
            distribution.is_some(),
            fetches || bootstraps,
        ),
        ("release", release.is_some(), downloads || bootstraps || oci),
        ("variant", variant.is_some(), downloads || bootstraps),
        ("cache", cache.is_some(), fetches || bootstraps),
        ("server", server.is_some(), fetches),
        ("proxy", proxy.is_some(), fetches || bootstraps),
        ("untrusted", untrusted, fetches),
        ("username", username.is_some(), oci && fetches),
        ("password", password.is_some(), oci && fetches),
        ("mirror", mirror.is_some(), bootstraps),
        (
            "template_args",
            !request.template_args.is_empty(),
            !request.is_built_in() || bootstraps,
        ),
    ];
    if let Some((option, ..)) = misplaced
        .into_iter()
        .find(|(_, given, fits)| *given && !fits)
    {
        return Err(Error::InvalidArgument(format!(
            "the template '{template}' takes no option \"{option}\"; leave it out, or choose another template"
        )));
    }
    if !downloads && !bootstraps && !oci {
        request.architecture = architecture;
        return Ok(());
    }
    let freshness = freshness(cache.as_deref())?;
    if oci {
        request.architecture.clone_from(&architecture);
        let architecture = architecture.unwrap_or_else(|| own_architecture().to_owned());
        let tag = release.unwrap_or_default();
        let (registry, name) = if request.rootfs.is_some() {
            (None, OciName::Layout { tag, architecture })
        } else {
            let tag = if tag.is_empty() { "latest" } else { &tag };
            let repository = distribution.unwrap_or_default();
            let id = ImageId::of_registry(&repository, tag, &architecture);
            let mut server =
                registry(server.as_deref().unwrap_or_default()).map_err(from_engine)?;
            if let Some(proxy) = proxy {
                server = server.through(&proxy);
            }
            if let Some(username) = username {
                let password = password.unwrap_or_default();
                server = server.known_to(Login { username, password });
            }
            (Some(server), OciName::Registry(id.map_err(from_engine)?))
        };
        request.oci = Some(OciRequest {
            registry,
            name,
            freshness,
            untrusted,
        });
        return Ok(());
    }
    let id = ImageId::new(
        distribution
            .as_deref()
            .unwrap_or(if bootstraps { "debian" } else { "" }),
        release.as_deref().unwrap_or_default(),
        architecture.as_deref().unwrap_or(own_architecture()),
        variant
            .as_deref()
            .unwrap_or(if bootstraps { "minbase" } else { "default" }),
    )
    .map_err(from_engine)?;
    if bootstraps {
        request.bootstrap = Some(BootstrapRequest {
            id,
            mirror,
            arguments: std::mem::take(&mut request.template_args),
            proxy,
            freshness,
        });
        return Ok(());
    }
    let mut server = Server::parse(server.as_deref().unwrap_or_default()).map_err(from_engine)?;
    if let Some(proxy) = proxy {
        server = server.through(&proxy);
    }
    request.image = Some(ImageRequest {
        id,
        server,
        freshness,
        untrusted,
    });
    Ok(())
}

fn freshness(cache: Option<&str>) -> gantry_api::Result<Freshness> {
    match cache {
        None => Ok(Freshness::Usual),
        Some("only") => Ok(Freshness::Cached),
        Some("refresh") => Ok(Freshness::Newest),
        Some(other) => Err(Error::InvalidArgument(format!(
            "the option \"cache\" is {}; give only or refresh, or leave it out",
            shortened(other)
        ))),
    }
}

fn entry(image: RemoteImage) -> Properties {
    Properties::from([
        ("server", image.server.into()),
        ("distribution", image.id.distribution.into()),
        ("release", image.id.release.into()),
        ("architecture", image.id.architecture.into()),
        ("variant", image.id.variant.into()),
        ("serial", image.serial.into()),
        ("title", image.title.into()),
        ("cached", image.cached.into()),
    ])
}

/// The properties that change.
fn properties(facts: &ImageFacts) -> Properties {
    HashMap::from([
        ("Serial", facts.serial.clone().into()),
        ("Size", facts.size.into()),
        ("LastUsed", facts.last_used.into()),
    ])
}
