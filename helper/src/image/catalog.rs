//! The lists of images that servers have. Read in a worker: nothing here is believed.

use super::outside::{Entry, Listed};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The most images of a list.
const MOST: usize = 20_000;
/// What a list begins with that is JSON (simplestreams).
const JSON: u8 = b'{';
/// The root file system in a list of simplestreams: what comes first is taken. It is called
/// as on servers of LXC's images, whose names are no others.
const ROOTS: [(&str, &str); 3] = [
    ("root.tar.xz", "rootfs.tar.xz"),
    ("root.squashfs", "rootfs.squashfs"),
    ("squashfs", "rootfs.squashfs"),
];
/// The most lists of an index.
const MOST_LISTS: usize = 16;

/// The images of a list in either layout; what makes no sense is left out.
pub(crate) fn read(text: &[u8]) -> Vec<Entry> {
    let start = text.iter().find(|byte| !byte.is_ascii_whitespace());
    let mut entries = match start {
        Some(&JSON) => products(text),
        _ => index(&String::from_utf8_lossy(text)),
    };
    entries.retain(Entry::is_sound);
    entries.truncate(MOST);
    entries
}

/// LXC's layout: `DISTRIBUTION;RELEASE;ARCHITECTURE;VARIANT;BUILD;FOLDER` a line.
fn index(text: &str) -> Vec<Entry> {
    let entry = |line: &str| -> Option<Entry> {
        let mut fields = line.trim().split(';').map(str::to_owned);
        Some(Entry {
            distribution: fields.next()?,
            release: fields.next()?,
            architecture: fields.next()?,
            variant: fields.next()?,
            serial: fields.next()?,
            folder: fields.next()?.trim_matches('/').to_owned(),
            ..Entry::default()
        })
    };
    text.lines().filter_map(entry).collect()
}

#[derive(Deserialize)]
struct Products {
    products: BTreeMap<String, Product>,
}

#[derive(Deserialize)]
struct Product {
    os: String,
    release: String,
    arch: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    release_title: Option<String>,
    versions: BTreeMap<String, Version>,
}

#[derive(Deserialize)]
struct Version {
    items: BTreeMap<String, Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    path: String,
    #[serde(default)]
    sha256: String,
    #[serde(default)]
    size: u64,
}

/// Simplestreams: the newest build of each product that has a root file system.
fn products(text: &[u8]) -> Vec<Entry> {
    let Ok(list) = serde_json::from_slice::<Products>(text) else {
        return Vec::new();
    };
    let entry = |product: Product| -> Option<Entry> {
        let (serial, version) =
            product
                .versions
                .into_iter()
                .rev()
                .find_map(|(serial, version)| {
                    let mut roots = ROOTS.iter().filter_map(|(key, _)| version.items.get(*key));
                    let root = roots.next()?;
                    let folder = root.path.rsplit_once('/')?.0.trim_matches('/').to_owned();
                    Some((serial, (folder, version)))
                })?;
        let (folder, version) = version;
        let files = version.items.into_iter().filter_map(|(key, item)| {
            let path = item.path.trim_start_matches('/');
            let name = path.strip_prefix(&format!("{folder}/"))?.to_owned();
            let sha256 = item.sha256.to_lowercase();
            let root = ROOTS.iter().find(|(root, _)| *root == key);
            let called = root.map_or(name.as_str(), |(_, called)| *called).to_owned();
            let sound = is_word(&name) && is_sha256(&sha256);
            let listed = Listed {
                sha256,
                size: item.size,
                name,
            };
            sound.then_some((called, listed))
        });
        Some(Entry {
            distribution: product.os.to_lowercase(),
            title: product.release_title.unwrap_or_default(),
            release: product.release,
            architecture: product.arch,
            variant: product.variant.unwrap_or_else(|| "default".to_owned()),
            serial,
            files: files.collect(),
            folder,
        })
    };
    list.products.into_values().filter_map(entry).collect()
}

impl Entry {
    /// Whether its words can be parts of paths and addresses.
    pub(crate) fn is_sound(&self) -> bool {
        let words = [
            &self.distribution,
            &self.release,
            &self.architecture,
            &self.variant,
            &self.serial,
        ];
        words.into_iter().all(|word| is_word(word))
            && self.folder.len() <= 512
            && self.folder.split('/').all(is_word)
            && self.title.len() <= 200
            && !self.title.chars().any(char::is_control)
            && self.files.len() <= 64
            && self
                .files
                .iter()
                .all(|(name, file)| is_word(name) && is_word(&file.name) && is_sha256(&file.sha256))
    }
}

/// The lists of images that an index of simplestreams names, by their paths; none if it
/// makes no sense.
pub(crate) fn lists(text: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Index {
        index: BTreeMap<String, Stream>,
    }
    #[derive(Deserialize)]
    struct Stream {
        #[serde(default)]
        datatype: String,
        #[serde(default)]
        path: String,
    }
    let streams = serde_json::from_slice::<Index>(text).map(|index| index.index);
    streams
        .unwrap_or_default()
        .into_values()
        .filter(|stream| stream.datatype == "image-downloads")
        .map(|stream| stream.path)
        .filter(|path| path.len() <= 512 && path.split('/').all(is_word))
        .take(MOST_LISTS)
        .collect()
}

/// Whether it can be one component of a path: letters, digits and `._:+~-`, no dot first.
pub(crate) fn is_word(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:+~-".contains(&byte);
    (1..=128).contains(&word.len()) && !word.starts_with(['.', '-']) && word.bytes().all(is_plain)
}

/// Whether it is a SHA-256 in lower-case hexadecimal digits.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What the metadata.yaml of an image for Incus says that it is; nothing if it makes no
/// sense.
pub(crate) fn properties(text: &str) -> BTreeMap<String, String> {
    #[derive(Deserialize, Default)]
    struct Metadata {
        #[serde(default)]
        properties: BTreeMap<String, Option<String>>,
    }
    let metadata: Metadata = serde_saphyr::from_str(text).unwrap_or_default();
    let given = metadata.properties.into_iter();
    given
        .filter_map(|(key, value)| Some((key, value?)))
        .filter(|(_, value)| value.len() <= 200 && !value.chars().any(char::is_control))
        .take(100)
        .collect()
}

/// The checksums of a `SHA256SUMS`, by the name of the file.
pub(crate) fn checksums(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (sum, name) = line.trim().split_once(char::is_whitespace)?;
        let name = name
            .trim_start()
            .trim_start_matches('*')
            .trim_start_matches("./");
        (is_sha256(sum) && is_word(name)).then(|| (name.to_owned(), sum.to_owned()))
    };
    text.lines().take(1000).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_read() {
        let line = "debian;trixie;amd64;default;20260829_05:24;/images/debian/trixie/amd64/default/20260829_05:24/\n";
        let entries = read(line.as_bytes());
        assert_eq!(entries.len(), 1);
        assert_eq!(
            entries[0].folder,
            "images/debian/trixie/amd64/default/20260829_05:24"
        );
        let sum = "ab".repeat(32);
        let json = format!(
            r#"{{"format": "products:1.0", "products": {{"debian:trixie:amd64:default": {{
                "arch": "amd64", "os": "Debian", "release": "trixie", "variant": "default",
                "versions": {{
                    "20260101_05:24": {{"items": {{"root.tar.xz": {{"path": "old/rootfs.tar.xz", "sha256": "{sum}", "size": 1}}}}}},
                    "20260829_05:24": {{"items": {{"root.tar.xz": {{"path": "images/new/rootfs.tar.xz", "sha256": "{sum}", "size": 7}}}}}},
                    "20260901_05:24": {{"items": {{"disk.qcow2": {{"path": "x/disk.qcow2", "sha256": "{sum}", "size": 1}}}}}}
                }}}}}}}}"#
        );
        let entries = read(json.as_bytes());
        assert_eq!(entries.len(), 1);
        assert_eq!(
            (entries[0].distribution.as_str(), entries[0].serial.as_str()),
            ("debian", "20260829_05:24")
        );
        assert_eq!(
            entries[0].files["rootfs.tar.xz"],
            Listed {
                sha256: sum,
                size: 7,
                name: "rootfs.tar.xz".to_owned(),
            }
        );
    }

    #[test]
    fn a_squashed_root_will_do() {
        let sum = "ab".repeat(32);
        let json = format!(
            r#"{{"products": {{"x": {{"arch": "amd64", "os": "Tiny", "release": "one", "versions": {{
                "1": {{"items": {{"root.squashfs": {{"path": "images/x/rootfs.squashfs", "sha256": "{sum}", "size": 7}}}}}}
            }}}}}}}}"#
        );
        let entries = read(json.as_bytes());
        assert_eq!(entries[0].folder, "images/x");
        assert!(entries[0].files.contains_key("rootfs.squashfs"));
    }

    #[test]
    fn other_names_of_a_root_are_known() {
        let sum = "ab".repeat(32);
        let json = format!(
            r#"{{"products": {{"x": {{"arch": "amd64", "os": "ubuntu", "release": "noble", "versions": {{
                "20260101": {{"items": {{
                    "squashfs": {{"path": "noble/1/noble-amd64.squashfs", "sha256": "{sum}", "size": 7}},
                    "disk1.img": {{"path": "noble/1/noble-amd64.img", "sha256": "{sum}", "size": 7}}
                }}}}}}}}}}}}"#
        );
        let files = read(json.as_bytes()).remove(0).files;
        assert_eq!(files["rootfs.squashfs"].name, "noble-amd64.squashfs");
        assert_eq!(files["noble-amd64.img"].name, "noble-amd64.img");
    }

    #[test]
    fn an_index_names_lists() {
        let text = r#"{"index": {
            "a": {"datatype": "image-downloads", "path": "streams/v1/com.example:released:download.json"},
            "b": {"datatype": "image-ids", "path": "streams/v1/clouds.json"},
            "c": {"datatype": "image-downloads", "path": "../x"}, "d": {}}}"#;
        assert_eq!(
            lists(text.as_bytes()),
            ["streams/v1/com.example:released:download.json"]
        );
        assert!(lists(b"[").is_empty());
    }

    #[test]
    fn what_leads_elsewhere_is_left_out() {
        for line in [
            "..;trixie;amd64;default;1;/x",
            "debian;../../etc;amd64;default;1;/x",
            "debian;trixie;amd64;default;1;/x/../y",
            "debian;trixie;amd64;default;1;//host/x",
            "debian;trixie;amd64;default;1;/x?y",
            "debian;trixie;amd64;default;1",
            "debian;tri xie;amd64;default;1;/x",
        ] {
            let sound = read(line.as_bytes());
            assert!(sound.is_empty() || sound[0].folder == "host/x", "{line}");
        }
        assert!(read(b"{\"products\": 3}").is_empty());
        assert!(read(&[0xff; 100]).is_empty());
    }

    #[test]
    fn an_image_for_incus_says_which_it_is() {
        let text = "architecture: x86_64\ncreation_date: 1735712520\nproperties:\n  os: debian\n  \
            serial: \"20260101_05:24\"\n  release: bookworm\n  odd:\ntemplates:\n  /etc/hostname:\n    when:\n    - create\n";
        let found = properties(text);
        assert_eq!(found.get("os").map(String::as_str), Some("debian"));
        assert_eq!(
            found.get("serial").map(String::as_str),
            Some("20260101_05:24")
        );
        assert!(properties("- a").is_empty() && properties("{").is_empty());
    }

    #[test]
    fn checksums_have_names() {
        let sum = "0".repeat(64);
        let sums = checksums(&format!(
            "{sum}  rootfs.tar.xz\n{sum} *meta.tar.xz\n{sum}  ../x\nshort  y\n"
        ));
        assert_eq!(
            sums.keys().collect::<Vec<_>>(),
            ["meta.tar.xz", "rootfs.tar.xz"]
        );
    }
}
