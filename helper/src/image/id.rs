//! Which image: its words, and where it lies.

use super::catalog::is_word;
use super::outside::Entry;
use crate::error::{Error, Result};
use std::path::PathBuf;

/// Where the images are, in `DISTRIBUTION/RELEASE/ARCHITECTURE/VARIANT`.
pub(super) const CACHE: &str = "/var/cache/lxc/download";
/// Where those of registries are, in `REPOSITORY/TAG/ARCHITECTURE/oci`.
pub(super) const REGISTRIES: &str = "/var/cache/lxc/oci";
/// Their variant.
const REGISTRY: &str = "oci";

/// Which image: words that can be parts of paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImageId {
    /// `debian`
    pub(crate) distribution: String,
    /// `trixie`
    pub(crate) release: String,
    /// As Debian calls it: `amd64`.
    pub(crate) architecture: String,
    /// `default`
    pub(crate) variant: String,
    /// It is of a registry, whose distributions have slashes in their names.
    pub(super) registry: bool,
}

impl ImageId {
    /// Refuses what is no word.
    pub(crate) fn new(
        distribution: &str,
        release: &str,
        architecture: &str,
        variant: &str,
    ) -> Result<Self> {
        for (what, word) in [
            ("distribution", distribution),
            ("release", release),
            ("architecture", architecture),
            ("variant", variant),
        ] {
            if !is_word(word) {
                return Err(Error::InvalidArgument(match word {
                    "" => format!("the {what} is missing; give it as option '{what}'"),
                    _ => format!("'{}' is not the name of a {what}", word.escape_debug()),
                }));
            }
        }
        Ok(Self {
            distribution: distribution.to_owned(),
            release: release.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            registry: false,
        })
    }

    /// The image of a registry by its repository (`library/debian`) and its tag or digest.
    /// Refuses what is none.
    pub(crate) fn of_registry(repository: &str, tag: &str, architecture: &str) -> Result<Self> {
        let word = repository.replace('/', "+");
        let sound = repository.split('/').all(is_word) && !repository.contains('+');
        if !sound || repository != repository.to_lowercase() {
            return Err(Error::InvalidArgument(match repository {
                "" => "the name of the image is missing; give it as option 'distribution', such as library/debian, or give the image as 'rootfs'".to_owned(),
                _ => format!("'{}' is not the name of an image of a registry", repository.escape_debug()),
            }));
        }
        let id = Self::new(&word, tag, architecture, REGISTRY)?;
        Ok(Self {
            distribution: repository.to_owned(),
            registry: true,
            ..id
        })
    }

    /// Whether a server's entry is of this image.
    pub(crate) fn is(&self, entry: &Entry) -> bool {
        self.words()
            == [
                &entry.distribution,
                &entry.release,
                &entry.architecture,
                &entry.variant,
            ]
    }

    fn words(&self) -> [&String; 4] {
        [
            &self.distribution,
            &self.release,
            &self.architecture,
            &self.variant,
        ]
    }

    /// Where it lies.
    pub(super) fn directory(&self) -> PathBuf {
        let root = if self.registry { REGISTRIES } else { CACHE };
        self.words()
            .into_iter()
            .fold(PathBuf::from(root), |path, word| {
                path.join(word.replace('/', "+"))
            })
    }

    /// One word for it.
    pub(crate) fn word(&self) -> String {
        self.words().map(|word| word.replace('/', "+")).join("_")
    }
}

impl std::fmt::Display for ImageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words().map(String::as_str).join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn images_of_registries_have_slashes() {
        let id = ImageId::of_registry("library/debian", "13", "amd64").unwrap();
        assert_eq!(
            id.directory(),
            Path::new("/var/cache/lxc/oci/library+debian/13/amd64/oci")
        );
        for bad in ["", "../x", "a//b", "a+b", "A", "/a", "a/"] {
            assert!(ImageId::of_registry(bad, "13", "amd64").is_err(), "{bad}");
        }
    }

    #[test]
    fn images_have_words() {
        let id = ImageId::new("debian", "trixie", "amd64", "default").unwrap();
        assert_eq!(
            id.directory(),
            Path::new("/var/cache/lxc/download/debian/trixie/amd64/default")
        );
        assert_eq!(id.to_string(), "debian trixie amd64 default");
        for bad in ["", "..", "a/b", ".gantry", "a b"] {
            assert!(
                matches!(
                    ImageId::new(bad, "x", "y", "z"),
                    Err(Error::InvalidArgument(_))
                ),
                "{bad}"
            );
        }
    }
}
