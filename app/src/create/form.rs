use adw::{prelude::*, subclass::prelude::*};
use relm4::{adw, gtk};

use super::{CreateDialog, Root};
use crate::{
    backend::{NewContainer, Template, check_words},
    text::{mark, parse_size, tr},
    widgets::chosen,
};

/// What a container can be made from, as it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Busybox,
    Image,
    Debootstrap,
    Archive,
    Registry,
    OciArchive,
    Script,
}

impl Kind {
    /// Those that a helper with these features can make.
    pub(super) fn offered(features: &[String]) -> Vec<Self> {
        let has = |name: &str| features.iter().any(|feature| feature == name);
        let all = [
            (Self::Busybox, true),
            (Self::Image, has("template-download")),
            (Self::Debootstrap, has("template-debootstrap")),
            (Self::Archive, true),
            (Self::Registry, has("template-oci")),
            (Self::OciArchive, has("template-oci")),
            (Self::Script, true),
        ];
        let offered = all.into_iter().filter(|(_, offered)| *offered);
        offered.map(|(kind, _)| kind).collect()
    }

    /// In few words: a list that drops down is narrow.
    fn word(self) -> String {
        tr(match self {
            Self::Busybox => mark("BusyBox, very small"),
            Self::Image => mark("Image of a server"),
            Self::Debootstrap => mark("Debian or Ubuntu"),
            Self::Archive => mark("Tar archive"),
            Self::Registry => mark("OCI registry"),
            Self::OciArchive => mark("OCI archive"),
            Self::Script => mark("Script of LXC’s"),
        })
    }
}

/// The ways to store a root file system that a helper with these features knows; the
/// empty name leaves the choice to it.
pub(super) fn backends(features: &[String]) -> Vec<String> {
    let known = features
        .iter()
        .filter_map(|one| one.strip_prefix("backend-"));
    std::iter::once("")
        .chain(known)
        .map(str::to_owned)
        .collect()
}

/// Offers these templates and backends; what was chosen is the first again.
pub(super) fn offer(root: &Root, kinds: &[Kind], backends: &[String]) {
    let parts = root.imp();
    let kinds: Vec<String> = kinds.iter().map(|kind| kind.word()).collect();
    let best = tr("The best here");
    let backends = backends.iter().map(|name| match name.as_str() {
        "" => best.as_str(),
        name => name,
    });
    let list = |words: &[&str]| gtk::StringList::new(words);
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    parts.template.set_model(Some(&list(&kinds)));
    let backends: Vec<&str> = backends.collect();
    parts.backend.set_model(Some(&list(&backends)));
}

impl CreateDialog {
    pub(super) fn kind(&self, root: &Root) -> Kind {
        let kind = chosen(&root.imp().template, &self.kinds);
        kind.copied().unwrap_or(Kind::Busybox)
    }

    fn backend(&self, root: &Root) -> String {
        let backend = chosen(&root.imp().backend, &self.backends);
        backend.cloned().unwrap_or_default()
    }

    /// Shows the rows that the chosen template and backend ask for.
    pub(super) fn show_rows(&self, root: &Root) {
        let parts = root.imp();
        let kind = self.kind(root);
        parts.image_row.set_visible(kind == Kind::Image);
        parts.untrusted.set_visible(kind == Kind::Image);
        let archive = matches!(kind, Kind::Archive | Kind::OciArchive);
        parts.archive_row.set_visible(archive);
        let password: &adw::EntryRow = parts.password.upcast_ref();
        for row in [&parts.repository, &parts.registry, &parts.user, password] {
            row.set_visible(kind == Kind::Registry);
        }
        let is_oci = matches!(kind, Kind::Registry | Kind::OciArchive);
        parts.tag.set_visible(is_oci);
        parts.script.set_visible(kind == Kind::Script);
        for row in [&parts.distribution, &parts.release, &parts.mirror] {
            row.set_visible(kind == Kind::Debootstrap);
        }
        parts.arguments.set_visible(kind == Kind::Script);
        let backend = self.backend(root);
        let is = |names: &[&str]| names.contains(&backend.as_str());
        parts.folder.set_visible(is(&["dir"]));
        for row in [&parts.group, &parts.volume, &parts.thin_pool] {
            row.set_visible(is(&["lvm"]));
        }
        parts.pool.set_visible(is(&["zfs"]));
        for row in [&parts.file_system, &parts.size] {
            row.set_visible(is(&["lvm", "loop"]));
        }
        if let Some(image) = &self.image {
            let words = format!("{} · {}", image.words(), image.architecture);
            parts.image_row.set_subtitle(&words);
        }
        if let Some(path) = &self.archive {
            parts.archive_row.set_subtitle(&path.display().to_string());
        }
    }

    /// What the form says; without an error in words, it is not filled in yet.
    pub(super) fn read(&self, root: &Root) -> Result<NewContainer, String> {
        let parts = root.imp();
        let template = match self.kind(root) {
            Kind::Busybox => Template::Busybox,
            Kind::Image => Template::Image(self.image.clone().ok_or_else(String::new)?),
            Kind::Debootstrap if parts.release.text().trim().is_empty() => {
                return Err(String::new());
            }
            Kind::Debootstrap => Template::Debootstrap,
            Kind::Archive => Template::Archive(self.archive.clone().ok_or_else(String::new)?),
            Kind::Registry if parts.repository.text().trim().is_empty() => {
                return Err(String::new());
            }
            Kind::Registry => Template::Registry,
            Kind::OciArchive => Template::OciArchive(self.archive.clone().ok_or_else(String::new)?),
            Kind::Script => match parts.script.text().trim() {
                "" => return Err(String::new()),
                name => Template::Script(name.to_owned()),
            },
        };
        // A row that is not asked for says nothing.
        let text = |row: &adw::EntryRow| match row.is_visible() {
            true => row.text().trim().to_owned(),
            false => String::new(),
        };
        let arguments = text(&parts.arguments);
        if !arguments.is_empty() {
            check_words(&arguments)?;
        }
        let size = text(&parts.size);
        let size = (!size.is_empty()).then(|| parse_size(&size)).transpose()?;
        let words = vec![
            ("distribution", text(&parts.distribution)),
            ("distribution", text(&parts.repository)),
            ("release", text(&parts.release)),
            ("release", text(&parts.tag)),
            ("server", text(&parts.registry)),
            ("username", text(&parts.user)),
            ("password", text(parts.password.upcast_ref())),
            ("mirror", text(&parts.mirror)),
            ("backend", self.backend(root)),
            ("dir", text(&parts.folder)),
            ("vgname", text(&parts.group)),
            ("lvname", text(&parts.volume)),
            ("thinpool", text(&parts.thin_pool)),
            ("zfsroot", text(&parts.pool)),
            ("fstype", text(&parts.file_system)),
        ];
        let buffer = parts.config.buffer();
        let (start, end) = buffer.bounds();
        let config = buffer.text(&start, &end, true);
        let lines = config.lines().map(str::trim);
        Ok(NewContainer {
            name: self.name.clone(),
            template,
            arguments,
            words,
            size,
            config: lines
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect(),
            untrusted: parts.untrusted.is_active(),
            privileged: parts.privileged.is_active(),
            ephemeral: parts.ephemeral.is_active(),
            start: parts.start.is_active(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_helper_can_do_is_offered() {
        let features = ["template-download", "backend-dir", "backend-loop"].map(str::to_owned);
        let kinds = [Kind::Busybox, Kind::Image, Kind::Archive, Kind::Script];
        assert_eq!(Kind::offered(&features), kinds);
        assert_eq!(backends(&features), ["", "dir", "loop"]);
    }
}
