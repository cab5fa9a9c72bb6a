//! Who is answered: whoever asks this machine by its own name, or shows the token.
//!
//! Without a token this machine alone can ask. A page from elsewhere could still let a browser here do so, under a name of
//! its own that it lets point to the loopback address. Such requests carry that name in `Host`, and are refused. Where others
//! can ask, the token decides. It comes in the address that the program prints, and stays in a cookie from then on, which a
//! browser shows to no other name.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// A secret that only whoever started the program knows: 128 random bits in hexadecimal digits.
#[derive(Clone)]
pub struct Token(String);

/// Who is answered.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Name of the cookie: of several servers on one host each has its own.
    cookie: String,
    token: Option<Token>,
}

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(record::hex(&bytes)))
    }

    /// Compares in a time that does not tell how much agrees.
    fn is(&self, said: &str) -> bool {
        let differing = self.0.bytes().zip(said.bytes()).fold(0, |differing, (a, b)| differing | (a ^ b));
        self.0.len() == said.len() && differing == 0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Gate {
    /// That of a server on a port. It asks for `token`; without one it answers to the names of this machine to itself alone.
    pub fn new(port: u16, token: Option<Token>) -> Self {
        Self { cookie: format!("emergence_{port}"), token }
    }

    /// What refuses the request, or brings it on with the token in a cookie; none lets it through.
    fn stops(&self, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
        let Some(token) = &self.token else {
            let host = headers.get(HOST).and_then(|value| value.to_str().ok());
            let refusal = "Without --token this server answers to localhost and to loopback addresses alone.\n";
            let refused = !host.is_some_and(names_this_machine);
            return refused.then(|| (StatusCode::FORBIDDEN, refusal).into_response());
        };
        let shown = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies = shown.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        if cookies.any(|(name, value)| name == self.cookie && token.is(value)) {
            return None;
        }
        let query = uri.query().unwrap_or_default().as_bytes();
        if form_urlencoded::parse(query).any(|(name, value)| name == "token" && token.is(&value)) {
            // The address that is left in the browser has no token.
            let cookie = format!("{}={token}; Path=/; HttpOnly; SameSite=Lax", self.cookie);
            let onward = [(SET_COOKIE, cookie), (LOCATION, "/".to_owned())];
            return Some((StatusCode::SEE_OTHER, onward).into_response());
        }
        let refusal = "A token is needed: open the address that the program printed when it was started.\n";
        Some((StatusCode::UNAUTHORIZED, refusal).into_response())
    }
}

/// Whether a host, with or without a port, is this machine to itself.
fn names_this_machine(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Lets a request through, or not.
pub(crate) async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.stops(request.uri(), request.headers()) {
        Some(response) => response,
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_few_names() {
        for name in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8080", "127.1.2.3:1"] {
            assert!(names_this_machine(name), "{name}");
        }
        for name in ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "[::2]:80"]
        {
            assert!(!names_this_machine(name), "{name}");
        }
    }

    #[test]
    fn a_token_is_new_every_time_and_told_from_others() {
        let (token, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_eq!(token.to_string().len(), 32);
        assert!(token.is(&token.to_string()) && !token.is(&other.to_string()));
        assert!(!token.is("") && !token.is(&token.to_string()[..31]));
        assert_eq!(format!("{token:?}"), "Token", "it is in no log");
    }
}
