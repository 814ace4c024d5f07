use tonic::transport::Uri;

/// An address `https://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(Uri);

impl ServerUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = |problem: &str| format!("server {text:?}: {problem}; expected https://HOST:PORT");
        let uri: Uri = text.parse().map_err(|_| refused("is no address"))?;
        match uri.scheme_str() {
            Some("https") => {}
            // A password would go over the wire for all to read.
            Some("http") => return Err(refused("http is not encrypted")),
            _ => return Err(refused("must begin with https://")),
        }
        let authority = uri.authority().ok_or_else(|| refused("names no host"))?;
        if authority.host().is_empty() {
            return Err(refused("names no host"));
        }
        if authority.as_str().contains('@') {
            return Err(refused("a user name does not belong here"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(refused("nothing may follow the port"));
        }
        Ok(Self(uri))
    }

    /// The address for the transport.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// The host's name or address, as its certificate has it: IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}", self.0.authority().map_or("", |authority| authority.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_and_nothing_more() {
        for (text, host) in [
            ("https://cavs.example:8443", "cavs.example"),
            ("https://cavs.example/", "cavs.example"),
            ("https://[::1]:8443", "::1"),
        ] {
            assert_eq!(ServerUrl::parse(text).unwrap().host(), host);
        }
        for (text, problem) in [
            ("http://cavs.example:8443", "http is not encrypted"),
            ("cavs.example:8443", "must begin with https://"),
            ("https://", "is no address"),
            ("https://a b", "is no address"),
            ("https://admin:secret@cavs.example", "a user name does not belong here"),
            ("https://cavs.example/v1", "nothing may follow the port"),
            ("", "is no address"),
        ] {
            let error = ServerUrl::parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
