//! The workers that fetch, read and verify what servers have: this program started
//! anew, which secludes itself first. It runs before there are threads.

use super::backup::Told;
use super::catalog;
use super::oci::document;
use super::outside::{
    BACKUP, DOCUMENT, FETCH, FILE_FD, INDEX, KEYS_FD, Order, PROPERTIES, READ, Said, VERIFY, WORKER,
};
use super::registry;
use crate::linux::seclusion::seclude;
use crate::linux::worker::descriptor;
use base64::Engine as _;
use rustls::crypto::ring;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

/// Where distributions keep the authorities that are trusted.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// What names are looked up with.
const RESOLVER: [&str; 5] = [
    "etc/hosts",
    "etc/resolv.conf",
    "etc/nsswitch.conf",
    "etc/gai.conf",
    "etc/host.conf",
];
/// How long a server may take to be reached, and how long it may send nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// The least time between two reports.
const PACE: Duration = Duration::from_millis(100);
/// The most bytes of an order, a key ring or a signature.
const MOST_WORDS: u64 = 1 << 20;
/// The most bytes of a signed file or of a list.
pub(crate) const MOST_TEXT: u64 = 64 << 20;
/// The keys are pinned, so that the old hash by which one of them says what it is for
/// does no harm; what is signed with it is not accepted.
const POLICY: &str = "[hash_algorithms]\nsha1.second_preimage_resistance = \"always\"\n";
/// The program that checks signatures.
pub(crate) const VERIFIER: &str = "/usr/bin/sqv";

/// Runs the worker if the arguments say so: `image-worker WHAT HELPER-PID`.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    if args.next()? != WORKER {
        return None;
    }
    let (what, helper) = (args.next()?, args.next()?.parse().ok()?);
    let result = match what.as_str() {
        FETCH => fetch(helper),
        READ => read(helper),
        INDEX => read_index(helper),
        DOCUMENT => read_document(helper),
        PROPERTIES => read_properties(helper),
        BACKUP => read_backup(helper),
        VERIFY => verify(helper),
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the helper's log.
            writeln!(io::stderr(), "the {what} worker failed: {error}").unwrap_or_default();
            ExitCode::FAILURE
        }
    })
}

fn taken(mut from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    (&mut from).take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {most} bytes"),
        ));
    }
    Ok(bytes)
}

fn read(helper: u32) -> io::Result<()> {
    let text = taken(io::stdin(), MOST_TEXT)?;
    seclude(helper, &[], false)?;
    let mut out = io::BufWriter::new(io::stdout());
    for entry in catalog::read(&text) {
        serde_json::to_writer(&mut out, &entry)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn read_index(helper: u32) -> io::Result<()> {
    let text = taken(io::stdin(), MOST_TEXT)?;
    seclude(helper, &[], false)?;
    Ok(serde_json::to_writer(io::stdout(), &catalog::lists(&text))?)
}

fn read_document(helper: u32) -> io::Result<()> {
    let text = taken(io::stdin(), MOST_TEXT)?;
    seclude(helper, &[], false)?;
    match document::read(&text) {
        Some(document) => Ok(serde_json::to_writer(io::stdout(), &document)?),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn read_properties(helper: u32) -> io::Result<()> {
    let text = taken(io::stdin(), MOST_WORDS)?;
    seclude(helper, &[], false)?;
    let properties = catalog::properties(&String::from_utf8_lossy(&text));
    Ok(serde_json::to_writer(io::stdout(), &properties)?)
}

fn read_backup(helper: u32) -> io::Result<()> {
    let text = taken(io::stdin(), MOST_WORDS)?;
    seclude(helper, &[], false)?;
    Ok(serde_json::to_writer(io::stdout(), &Told::read(&text))?)
}

fn verify(helper: u32) -> io::Result<()> {
    let file = |number| File::from(descriptor(number));
    let files = [
        ("data", taken(io::stdin(), MOST_TEXT)?),
        ("signature", taken(file(FILE_FD), MOST_WORDS)?),
        ("keys", dearmored(taken(file(KEYS_FD), MOST_WORDS)?)),
        ("policy", POLICY.into()),
    ];
    seclude(helper, &files, false)?;
    let environment = [c"LC_ALL=C", c"SEQUOIA_CRYPTO_POLICY=/policy"];
    let arguments = [c"sqv", c"--keyring", c"/keys", c"/signature", c"/data"];
    let program = std::ffi::CString::new(VERIFIER)?;
    match nix::unistd::execve(&program, &arguments, &environment)? {}
}

/// Keys as `gpg --export --armor` writes them, without the armour; the others as they are.
fn dearmored(keys: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&keys);
    let body = text
        .split_once("-----BEGIN PGP PUBLIC KEY BLOCK-----")
        .and_then(|(_, rest)| rest.split_once("-----END"))
        .and_then(|(block, _)| block.split_once("\n\n"));
    let Some((_, body)) = body else { return keys };
    // The last line is a checksum of RFC 4880.
    let body: String = body.lines().filter(|line| !line.starts_with('=')).collect();
    base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap_or(keys)
}

fn fetch(helper: u32) -> io::Result<()> {
    let order: Order = serde_json::from_slice(&taken(io::stdin(), MOST_WORDS)?)?;
    let mut file = File::from(descriptor(FILE_FD));
    let authorities = AUTHORITIES
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .unwrap_or_default();
    let resolver: Vec<(&str, Vec<u8>)> = RESOLVER
        .iter()
        .filter_map(|name| Some((*name, std::fs::read(format!("/{name}")).ok()?)))
        .collect();
    seclude(helper, &resolver, true)?;
    let mut said = io::stdout();
    let mut tell = |what: &Said| -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        said.write_all(&line)?;
        said.flush()
    };
    let end = match agent(&order, &authorities).and_then(|agent| ask(&agent, &order)) {
        Ok(response) => take(response, &order, &mut file, &mut tell)?,
        Err(error) => what_failed(&error),
    };
    tell(&end)
}

fn agent(order: &Order, authorities: &[u8]) -> Result<Agent, ureq::Error> {
    let roots = parse_pem(authorities).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    let proxy = order.proxy.as_deref().map(Proxy::new).transpose()?;
    let config = Agent::config_builder()
        .tls_config(tls)
        .proxy(proxy)
        // A redirection must not leave what was promised.
        .https_only(order.url.starts_with("https:"))
        .http_status_as_error(false)
        .max_redirects(5)
        .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_resolve(Some(PATIENCE))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .build();
    Ok(config.new_agent())
}

fn ask(agent: &Agent, order: &Order) -> Result<Response<Body>, ureq::Error> {
    let response = request(agent, order, None)?;
    if response.status() != StatusCode::UNAUTHORIZED {
        return Ok(response);
    }
    match registry::authorization(agent, order.login.as_ref(), &response)? {
        Some(authorization) => request(agent, order, Some(&authorization)),
        None => Ok(response),
    }
}

fn request(
    agent: &Agent,
    order: &Order,
    authorization: Option<&str>,
) -> Result<Response<Body>, ureq::Error> {
    let mut request = agent.get(&order.url);
    if !order.accept.is_empty() {
        request = request.header(header::ACCEPT, &order.accept);
    }
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if order.offset > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", order.offset));
        if let Some(tag) = &order.tag {
            request = request.header(header::IF_RANGE, tag);
        }
    } else if let Some(tag) = &order.tag {
        request = request.header(header::IF_NONE_MATCH, tag);
    }
    request.call()
}

/// Writes what comes to the file, and gives how it ended.
fn take(
    mut response: Response<Body>,
    order: &Order,
    file: &mut File,
    tell: &mut impl FnMut(&Said) -> io::Result<()>,
) -> io::Result<Said> {
    let status = response.status();
    let word = |name| response.headers().get(name)?.to_str().ok();
    let tag = word(header::ETAG).map(str::to_owned);
    let length = word(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let offset = match status {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT
            if word(header::CONTENT_RANGE)
                .is_some_and(|range| range.starts_with(&format!("bytes {}-", order.offset))) =>
        {
            order.offset
        }
        StatusCode::NOT_MODIFIED => return Ok(Said::Same),
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => {
            return Ok(Said::Missing);
        }
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
            file.set_len(0)?;
            return Ok(Said::Broken("the server cannot go on with it".to_owned()));
        }
        StatusCode::UNAUTHORIZED => {
            return Ok(Said::Refused(
                "the server does not let us in: look whether the name is right, and whether it wants a user and a password".to_owned(),
            ));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Ok(Said::Broken(format!("the server answers {status}")));
        }
        status => return Ok(Said::Refused(format!("the server answers {status}"))),
    };
    let total = length.map(|length| length.saturating_add(offset));
    if total.is_some_and(|total| total > order.limit) {
        return Ok(too_long(order.limit));
    }
    file.set_len(offset)?;
    file.seek(SeekFrom::Start(offset))?;
    tell(&Said::Begun { offset, total, tag })?;
    let mut body = response.body_mut().as_reader();
    let (mut bytes, mut chunk, mut told) = (offset, vec![0; 128 * 1024], None::<Instant>);
    loop {
        let count = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Ok(Said::Broken(error.to_string())),
        };
        bytes += count as u64;
        if bytes > order.limit {
            return Ok(too_long(order.limit));
        }
        file.write_all(chunk.get(..count).unwrap_or_default())?;
        if told.is_none_or(|told| told.elapsed() >= PACE) {
            told = Some(Instant::now());
            tell(&Said::Bytes(bytes))?;
        }
    }
    tell(&Said::Bytes(bytes))?;
    Ok(match total {
        Some(total) if total != bytes => {
            Said::Broken(format!("the server sent {bytes} of {total} bytes"))
        }
        _ => Said::Done,
    })
}

fn too_long(limit: u64) -> Said {
    Said::Refused(format!("it is longer than {limit} bytes"))
}

/// Whether trying again may help.
fn what_failed(error: &ureq::Error) -> Said {
    let text = error.to_string();
    match error {
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Protocol(_) => Said::Broken(text),
        _ => Said::Refused(text),
    }
}
