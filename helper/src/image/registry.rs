//! How registries of OCI images want to know who asks: the challenges of the distribution
//! specification (RFC 7235; `Bearer` as its token specification has it). Read in a worker.

use super::outside::Login;
use base64::Engine as _;
use serde::Deserialize;
use ureq::http::{Response, header};
use ureq::{Agent, Body};

/// The most bytes of an answer that has a token.
const MOST: u64 = 1 << 20;

/// What to answer to a challenge; none if there is nothing to answer.
pub(super) fn authorization(
    agent: &Agent,
    login: Option<&Login>,
    response: &Response<Body>,
) -> Result<Option<String>, ureq::Error> {
    let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
    let challenges: Vec<&str> = challenges
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    if let Some(question) = challenges.iter().find_map(|text| Question::read(text)) {
        return token(agent, login, &question);
    }
    let basic = |text: &&str| scheme(text).0.eq_ignore_ascii_case("basic");
    Ok(login
        .filter(|_| challenges.iter().any(basic))
        .map(credentials))
}

fn credentials(login: &Login) -> String {
    let text = format!("{}:{}", login.username, login.password);
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    format!("Basic {encoded}")
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

fn token(
    agent: &Agent,
    login: Option<&Login>,
    question: &Question,
) -> Result<Option<String>, ureq::Error> {
    let mut request = agent.get(question.url());
    if let Some(login) = login {
        request = request.header(header::AUTHORIZATION, credentials(login));
    }
    let mut response = request.call()?;
    if !response.status().is_success() {
        return Ok(None);
    }
    let text = response
        .body_mut()
        .with_config()
        .limit(MOST)
        .read_to_vec()?;
    let answer: Option<Answer> = serde_json::from_slice(&text).ok();
    let token = answer.map(|answer| match answer.token.is_empty() {
        true => answer.access_token,
        false => answer.token,
    });
    Ok(token
        .filter(|token| !token.is_empty())
        .map(|token| format!("Bearer {token}")))
}

/// Where a token is to be asked for, and for what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Question {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

impl Question {
    /// Of `Bearer realm="…",service="…",scope="…"`.
    fn read(challenge: &str) -> Option<Self> {
        let (name, mut rest) = scheme(challenge);
        if !name.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut question = Self::default();
        loop {
            rest = rest.trim_start_matches([',', ' ', '\t']);
            let Some((name, after)) = rest.split_once('=') else {
                break;
            };
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => question.realm = value.to_owned(),
                "service" => question.service = Some(value.to_owned()),
                "scope" => question.scope = Some(value.to_owned()),
                _ => {}
            }
            rest = after;
        }
        Some(question).filter(|question| !question.realm.is_empty())
    }

    fn url(&self) -> String {
        let mut url = self.realm.clone();
        for (name, value) in [("service", &self.service), ("scope", &self.scope)] {
            if let Some(value) = value {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str(&format!("{name}={}", encoded(value)));
            }
        }
        url
    }
}

fn scheme(challenge: &str) -> (&str, &str) {
    let challenge = challenge.trim_start();
    challenge.split_once(' ').unwrap_or((challenge, ""))
}

/// A value as part of an address (RFC 3986).
fn encoded(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_say_where_to_ask() {
        let read = |text| Question::read(text).map(|question| question.url());
        assert_eq!(
            read(r#"Bearer realm="https://auth.example/token",service="a b",scope="repository:x/y:pull,push""#).as_deref(),
            Some("https://auth.example/token?service=a%20b&scope=repository:x/y:pull%2Cpush")
        );
        assert_eq!(
            read("bearer realm=http://h/t?x=1,scope=s").as_deref(),
            Some("http://h/t?x=1&scope=s")
        );
        for other in [
            "Basic realm=\"x\"",
            "Bearer",
            "Bearer realm=\"open",
            "",
            "Bearer scope=\"x\"",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
