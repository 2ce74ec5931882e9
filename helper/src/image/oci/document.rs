//! The documents of OCI images (the image specification's image-index.md, manifest.md and
//! config.md), and those of Docker that they come from. Read in a worker: nothing here is
//! believed.

use super::super::catalog::{is_sha256, is_word};
use super::super::outside::{Blob, Choice, Document, ImageConfig};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What an image is called in its index.
const NAME: &str = "org.opencontainers.image.ref.name";
/// The most images of an index, layers of an image, words of a command, and variables.
const MOST: usize = 1000;
/// The most bytes of one of its texts.
const MOST_TEXT: usize = 128 << 10;

#[derive(Deserialize)]
struct Raw {
    manifests: Option<Vec<Descriptor>>,
    layers: Option<Vec<Descriptor>>,
    config: Option<Value>,
    rootfs: Option<RootFs>,
    #[serde(default)]
    architecture: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    platform: Option<Platform>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: String,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Runs {
    user: Option<String>,
    working_dir: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    stop_signal: Option<String>,
}

/// What a document says; none if it makes no sense.
pub(crate) fn read(text: &[u8]) -> Option<Document> {
    let raw: Raw = serde_json::from_slice(text).ok()?;
    let document = match (raw.manifests, raw.layers, raw.rootfs) {
        (Some(manifests), None, None) => Document::Index(
            manifests
                .into_iter()
                .filter_map(Descriptor::choice)
                .collect(),
        ),
        (None, Some(layers), None) => Document::Manifest {
            config: serde_json::from_value::<Descriptor>(raw.config?)
                .ok()?
                .blob()?,
            layers: layers
                .into_iter()
                .map(Descriptor::blob)
                .collect::<Option<_>>()?,
        },
        (None, None, Some(root)) => {
            let runs = match raw.config {
                None | Some(Value::Null) => Runs::default(),
                Some(runs) => serde_json::from_value(runs).ok()?,
            };
            let layers = root.diff_ids.iter().map(|id| sha256(id));
            Document::Image(ImageConfig {
                architecture: raw.architecture,
                user: runs.user.unwrap_or_default(),
                directory: runs.working_dir.unwrap_or_default(),
                command: [runs.entrypoint, runs.cmd]
                    .into_iter()
                    .flatten()
                    .flatten()
                    .collect(),
                environment: runs.env.unwrap_or_default(),
                stop_signal: runs.stop_signal.unwrap_or_default(),
                layers: layers.collect::<Option<_>>()?,
            })
        }
        // One that could be read in two ways.
        _ => return None,
    };
    document.is_sound().then_some(document)
}

/// The digits of a digest; none if it is of another kind.
fn sha256(digest: &str) -> Option<String> {
    let digits = digest.strip_prefix("sha256:")?;
    is_sha256(digits).then(|| digits.to_owned())
}

impl Descriptor {
    fn blob(self) -> Option<Blob> {
        Some(Blob {
            sha256: sha256(&self.digest)?,
            size: self.size,
            kind: self.media_type,
        })
    }

    fn choice(mut self) -> Option<Choice> {
        let platform = self.platform.take();
        let mut annotations = self.annotations.take().unwrap_or_default();
        let platform = match platform {
            // Those of the builder's own records have 'unknown'.
            Some(platform) if platform.os != "linux" => return None,
            Some(platform) if platform.variant.is_empty() => platform.architecture,
            Some(platform) => format!("{}/{}", platform.architecture, platform.variant),
            None => String::new(),
        };
        Some(Choice {
            blob: self.blob()?,
            name: annotations.remove(NAME).unwrap_or_default(),
            platform,
        })
    }
}

impl Document {
    /// Whether it is of a size and a form that anything is to be made of.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::Index(choices) => {
                choices.len() <= MOST
                    && choices.iter().all(|choice| {
                        choice.blob.is_sound()
                            && is_plain(&choice.name)
                            && is_plain(&choice.platform)
                    })
            }
            Self::Manifest { config, layers } => {
                layers.len() <= MOST && config.is_sound() && layers.iter().all(Blob::is_sound)
            }
            Self::Image(config) => {
                let lists = [&config.command, &config.environment, &config.layers];
                let texts = [&config.user, &config.directory, &config.stop_signal];
                lists.iter().all(|list| list.len() <= MOST)
                    && lists
                        .into_iter()
                        .flatten()
                        .chain(texts)
                        .all(|text| text.len() <= MOST_TEXT)
                    && (config.architecture.is_empty() || is_word(&config.architecture))
                    && config.layers.iter().all(|layer| is_sha256(layer))
            }
        }
    }
}

impl Blob {
    fn is_sound(&self) -> bool {
        is_sha256(&self.sha256) && is_plain(&self.kind)
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= 512 && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(c: char) -> String {
        format!("sha256:{}", c.to_string().repeat(64))
    }

    #[test]
    fn each_document_is_known_by_its_form() {
        let index = format!(
            r#"{{"schemaVersion": 2, "manifests": [
                {{"digest": "{}", "size": 3, "platform": {{"architecture": "arm", "os": "linux", "variant": "v7"}},
                  "annotations": {{"{NAME}": "one"}}}},
                {{"digest": "{}", "platform": {{"architecture": "unknown", "os": "unknown"}}}},
                {{"digest": "md5:1"}}]}}"#,
            digest('a'),
            digest('b')
        );
        let Some(Document::Index(choices)) = read(index.as_bytes()) else {
            panic!("no index")
        };
        assert_eq!(choices.len(), 1);
        assert_eq!(
            (choices[0].name.as_str(), choices[0].platform.as_str()),
            ("one", "arm/v7")
        );
        let manifest = format!(
            r#"{{"config": {{"digest": "{}"}}, "layers": [{{"digest": "{}", "mediaType": "x/y"}}]}}"#,
            digest('c'),
            digest('d')
        );
        let Some(Document::Manifest { config, layers }) = read(manifest.as_bytes()) else {
            panic!("no manifest")
        };
        assert_eq!(
            (config.sha256, layers[0].kind.as_str()),
            ("c".repeat(64), "x/y")
        );
        let config = format!(
            r#"{{"architecture": "amd64", "config": {{"Entrypoint": ["/a"], "Cmd": ["b c"], "Env": null, "User": "5"}},
                "rootfs": {{"type": "layers", "diff_ids": ["{}"]}}}}"#,
            digest('e')
        );
        let Some(Document::Image(config)) = read(config.as_bytes()) else {
            panic!("no config")
        };
        assert_eq!(config.command, ["/a", "b c"]);
        assert_eq!((config.user.as_str(), config.layers.len()), ("5", 1));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_none() {
        let both = format!(
            r#"{{"manifests": [], "layers": [], "config": {{"digest": "{}"}}}}"#,
            digest('a')
        );
        let bad_layer = format!(
            r#"{{"config": {{"digest": "{}"}}, "layers": [{{"digest": "sha256:../x"}}]}}"#,
            digest('a')
        );
        for bad in [
            both.as_str(),
            &bad_layer,
            "{}",
            "[]",
            "",
            "{\"manifests\": 1}",
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }
}
