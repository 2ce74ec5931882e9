//! Image servers, and the keys that their images are signed with.

use super::catalog::is_word;
use super::outside::Login;
use crate::error::{Error, Result};
use crate::linux::{files, memfd};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The server of those who name none, as LXC's template has it.
pub(crate) const DEFAULT: &str = "https://images.linuxcontainers.org";
/// Where an administrator puts the keys of servers: HOST.asc or HOST.gpg, with `:PORT`
/// where the server has one.
const KEYS: &str = "/etc/gantry/image-keys";
/// The key of [`DEFAULT`], E7FB0CAEC8173D669066514CBAEFF88C22F6E216.
const DEFAULT_KEY: &[u8] =
    include_bytes!("../../../data/image-keys/images.linuxcontainers.org.asc");
/// The most bytes of a server's address.
const MOST: usize = 512;

/// An image server, by its checked address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    url: String,
    authority: String,
    proxy: Option<String>,
    login: Option<Login>,
}

impl Server {
    /// Of `https://HOST/PATH`, `http://HOST:PORT` or `HOST`, which means https. The empty
    /// text is [`DEFAULT`].
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refuse = || {
            Error::InvalidArgument(format!(
                "'{}' is not the address of an image server; give https://HOST or http://HOST, and a path at most",
                text.escape_debug()
            ))
        };
        let text = if text.is_empty() { DEFAULT } else { text };
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let rest = rest.trim_end_matches('/');
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        let port = authority.strip_prefix(host).unwrap_or_default();
        let is_port = |port: &str| {
            port.strip_prefix(':')
                .is_some_and(|port| port.parse::<u16>().is_ok())
        };
        let sound = matches!(scheme, "http" | "https")
            && text.len() <= MOST
            && is_word(host)
            && !host.contains(['~', ':', '+'])
            && (port.is_empty() || is_port(port))
            && (path.is_empty() || path.split('/').all(is_word));
        if !sound {
            return Err(refuse());
        }
        Ok(Self {
            url: format!("{scheme}://{rest}"),
            authority: authority.to_lowercase(),
            proxy: None,
            login: None,
        })
    }

    /// Those that are known: the default one, and those whose keys an administrator has
    /// put in place.
    pub(crate) fn known() -> Vec<Self> {
        let names = std::fs::read_dir(KEYS)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                let name = name
                    .strip_suffix(".asc")
                    .or_else(|| name.strip_suffix(".gpg"))?;
                Self::parse(name).ok()
            });
        let mut known: Vec<Self> = names.chain(Self::parse("").ok()).collect();
        known.sort_by(|a, b| a.url.cmp(&b.url));
        known.dedup();
        known
    }

    /// Its address, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The address of a file of it.
    pub(crate) fn file(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// A word for it that can be a file's name.
    pub(crate) fn word(&self) -> String {
        self.url.replace("://", "_").replace('/', "_")
    }

    /// The keys that its images are to be signed with. None: nobody has said which.
    pub(crate) fn keys(&self) -> Result<Option<OwnedFd>> {
        for suffix in ["asc", "gpg"] {
            let path = Path::new(KEYS).join(format!("{}.{suffix}", self.authority));
            match files::open_regular(&path) {
                Ok((file, _)) => return Ok(Some(file.into())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::path("reading", &path, &error)),
            }
        }
        if !DEFAULT.ends_with(&format!("//{}", self.authority)) {
            return Ok(None);
        }
        memfd::sealed_bytes("keys", DEFAULT_KEY)
            .map(Some)
            .map_err(|error| Error::io("keeping a key", &error))
    }

    /// The same, reached through a proxy, `http://HOST:PORT`; the empty text: through none.
    pub(crate) fn through(mut self, proxy: &str) -> Self {
        self.proxy = Some(proxy.to_owned());
        self
    }

    /// The same, for a user of it.
    pub(crate) fn known_to(mut self, login: Login) -> Self {
        self.login = Some(login);
        self
    }

    /// Who is known to it.
    pub(super) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The proxy to reach it through: that which was chosen, or that of the environment as
    /// curl(1) reads it.
    pub(crate) fn proxy(&self) -> Option<String> {
        if let Some(proxy) = &self.proxy {
            return Some(proxy.clone()).filter(|proxy| !proxy.is_empty());
        }
        usual_proxy(&self.url)
    }
}

/// The proxy by which the helper's environment has an address reached, as curl(1) reads it.
pub(crate) fn usual_proxy(url: &str) -> Option<String> {
    proxy(url, |name| {
        std::env::var(name)
            .or_else(|_| std::env::var(name.to_uppercase()))
            .ok()
            .filter(|value| !value.is_empty())
    })
}

/// What servers call this host's architecture.
pub(crate) fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "x86" => "i386",
        "powerpc64" => "ppc64el",
        other => other,
    }
}

fn proxy(url: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', ':']).next()?;
    let exempt = variable("no_proxy").unwrap_or_default();
    let is_exempt = |pattern: &str| {
        let pattern = pattern
            .trim()
            .trim_start_matches("*.")
            .trim_start_matches('.');
        let below = || {
            host.strip_suffix(pattern)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        pattern == "*" || (!pattern.is_empty() && (host == pattern || below()))
    };
    if exempt.split(',').any(is_exempt) {
        return None;
    }
    variable(&format!("{scheme}_proxy")).or_else(|| variable("all_proxy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_servers() {
        let url = |text: &str| Server::parse(text).map(|server| server.url);
        assert_eq!(url("").unwrap(), DEFAULT);
        assert_eq!(
            url("images.example.org").unwrap(),
            "https://images.example.org"
        );
        assert_eq!(
            url("http://10.0.3.1:8080/lxc/").unwrap(),
            "http://10.0.3.1:8080/lxc"
        );
        for bad in [
            "ftp://x",
            "file:///etc",
            "https://user@x",
            "https://x:99999",
            "https://x/../y",
            "https://x?y",
            "https://x/a b",
            "https://-x",
            "https:///x",
        ] {
            assert!(matches!(url(bad), Err(Error::InvalidArgument(_))), "{bad}");
        }
    }

    #[test]
    fn the_default_server_has_a_key() {
        assert!(Server::parse("").unwrap().keys().unwrap().is_some());
        assert!(
            Server::parse("other.example.org")
                .unwrap()
                .keys()
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn proxies_are_those_of_the_environment() {
        let with = |pairs: &'static [(&str, &str)], url: &str| {
            proxy(url, |name| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        let all = &[
            ("https_proxy", "http://p:1"),
            ("all_proxy", "http://q:2"),
            ("no_proxy", "localhost, .example.org"),
        ];
        assert_eq!(with(all, "https://x.org").as_deref(), Some("http://p:1"));
        assert_eq!(with(all, "http://x.org/y").as_deref(), Some("http://q:2"));
        assert_eq!(with(all, "https://images.example.org:8443"), None);
        assert_eq!(with(all, "http://localhost:80"), None);
        assert_eq!(
            with(&[("no_proxy", "*"), ("all_proxy", "q")], "http://x"),
            None
        );
        assert_eq!(with(&[], "http://x"), None);
    }
}
