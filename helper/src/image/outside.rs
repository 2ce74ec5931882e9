//! What a worker is asked for and answers: the line between the helper and those of its
//! processes that touch bytes from outside, as one JSON value a line.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The first argument that makes this program such a worker; the second says which, the
/// third is the helper's process number.
pub(crate) const WORKER: &str = "image-worker";
/// Fetches one file: the order on standard input, its content to [`FILE_FD`].
pub(crate) const FETCH: &str = "fetch";
/// Reads a list of images, on standard input: an [`Entry`] a line on standard output.
pub(crate) const READ: &str = "read";
/// Reads an index of simplestreams, on standard input: the paths of lists on standard output.
pub(crate) const INDEX: &str = "index";
/// Checks the signature [`FILE_FD`] of standard input by the keys in [`KEYS_FD`].
pub(crate) const VERIFY: &str = "verify";
/// Reads a document of an OCI image, on standard input: a [`Document`] on standard output.
pub(crate) const DOCUMENT: &str = "document";
/// Reads the properties in an image's metadata.yaml, on standard input: a map of texts on
/// standard output.
pub(crate) const PROPERTIES: &str = "properties";
/// Reads what a backup of Incus says, on standard input: a result of [`super::backup::Told`]
/// on standard output.
pub(crate) const BACKUP: &str = "backup";
/// The descriptor of the file that is written, or of the signature.
pub(crate) const FILE_FD: i32 = 3;
/// The descriptor of the keys.
pub(crate) const KEYS_FD: i32 = 4;

/// A file to fetch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Where it is, `http://` or `https://`.
    pub(crate) url: String,
    /// The proxy to go through.
    pub(crate) proxy: Option<String>,
    /// The kinds of content to ask for (Accept); empty: any.
    pub(crate) accept: String,
    /// Who asks, if the server wants to know.
    pub(crate) login: Option<Login>,
    /// How much of it is there already.
    pub(crate) offset: u64,
    /// The ETag of what is there: with an offset, the rest is wanted only if it is the
    /// same still; without, nothing is wanted if it is.
    pub(crate) tag: Option<String>,
    /// The most bytes to take.
    pub(crate) limit: u64,
}

/// A user of a server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

/// What a worker that fetches says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// It comes: how much is there from before, how much there will be, and its ETag.
    Begun {
        /// Bytes from before that stand.
        offset: u64,
        /// Bytes in all, if the server says.
        total: Option<u64>,
        /// Its ETag.
        tag: Option<String>,
    },
    /// So many bytes are there.
    Bytes(u64),
    /// All is there.
    Done,
    /// It is what it was.
    Same,
    /// The server has no such file.
    Missing,
    /// It broke off and may be gone on with: the connection's fault, or the server's.
    Broken(String),
    /// It will not come.
    Refused(String),
}

/// An image that a server has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// `debian`
    pub(crate) distribution: String,
    /// `trixie`
    pub(crate) release: String,
    /// `amd64`
    pub(crate) architecture: String,
    /// `default`, `cloud`, …
    pub(crate) variant: String,
    /// Which build it is.
    pub(crate) serial: String,
    /// Its folder on the server, without a slash at either end.
    pub(crate) folder: String,
    /// What people call it; empty if the list does not say.
    pub(crate) title: String,
    /// The files whose sizes and checksums (SHA-256) the list says; the root file system is
    /// called `rootfs.tar.xz` or `rootfs.squashfs` here, whatever its name.
    pub(crate) files: BTreeMap<String, Listed>,
}

/// What a list says of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Its SHA-256, in hexadecimal digits.
    pub(crate) sha256: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its name on the server; empty: as it is called in the list of files.
    pub(crate) name: String,
}

/// What a document of an OCI image says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Document {
    /// Images to choose from.
    Index(Vec<Choice>),
    /// What an image is made of.
    Manifest {
        /// What it runs.
        config: Blob,
        /// From the lowest on.
        layers: Vec<Blob>,
    },
    /// What an image runs.
    Image(ImageConfig),
}

/// An image of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choice {
    pub(crate) blob: Blob,
    /// What it is called there; may be empty.
    pub(crate) name: String,
    /// `amd64`, `arm/v7`; may be empty.
    pub(crate) platform: String,
}

/// A part of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob {
    /// Its SHA-256, in hexadecimal digits.
    pub(crate) sha256: String,
    /// Its bytes.
    pub(crate) size: u64,
    /// Its media type.
    pub(crate) kind: String,
}

/// What an image runs, and what its layers are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageConfig {
    /// As OCI calls it: `amd64`.
    pub(crate) architecture: String,
    /// `USER`, `UID`, `USER:GROUP`, …; empty: root.
    pub(crate) user: String,
    /// Where it begins; empty: `/`.
    pub(crate) directory: String,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// `NAME=VALUE`
    pub(crate) environment: Vec<String>,
    /// The signal that asks it to end; may be empty.
    pub(crate) stop_signal: String,
    /// The SHA-256 of each layer as it is unpacked.
    pub(crate) layers: Vec<String>,
}
