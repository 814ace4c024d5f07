//! What went wrong with TLS, in words for people.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError};

/// The alerts that have words of their own here.
const ALERTS: [AlertDescription; 9] = [
    AlertDescription::CertificateExpired,
    AlertDescription::UnknownCA,
    AlertDescription::DecryptError,
    AlertDescription::CertificateRevoked,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::AccessDenied,
    AlertDescription::CertificateRequired,
];

/// What went wrong with TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The other side's certificate is not one to believe.
    #[error("its certificate {0}")]
    NotTrusted(String),
    /// The other side does not believe this side's certificate.
    #[error("it refuses this side's certificate: {0}")]
    Refused(&'static str),
    /// The other side wants a certificate, and this side has shown none.
    #[error("it wants a client certificate: that is a listener for devices")]
    CertificateWanted,
    /// What answers does not speak TLS.
    #[error("what answers there does not speak TLS: is the port the right one?")]
    NotTls,
    /// Any other fault, in rustls's words.
    #[error("{0}")]
    Other(String),
}

/// What went wrong with TLS, where an error, or one of its causes, is of TLS.
#[must_use]
pub fn tls_fault(error: &(dyn Error + 'static)) -> Option<TlsFault> {
    let mut next = Some(error);
    while let Some(error) = next {
        // An I/O error shows what is inside it to nobody who asks for its source.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(fault) = error.downcast_ref::<rustls::Error>() {
            return Some(in_words(fault));
        }
        if let Some(fault) = alert_in_text(&error.to_string()) {
            return Some(fault);
        }
        match inside {
            Some(inside) => next = Some(inside),
            None => next = error.source(),
        }
    }
    None
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is open, and its own text says the rest")]
fn in_words(error: &rustls::Error) -> TlsFault {
    match error {
        rustls::Error::InvalidCertificate(problem) => TlsFault::NotTrusted(problem_of(problem)),
        rustls::Error::AlertReceived(alert) => alert_of(*alert),
        rustls::Error::InvalidMessage(_) => TlsFault::NotTls,
        other => TlsFault::Other(other.to_string()),
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is open, and its own text says the rest")]
fn problem_of(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => "was not signed by the configured root".to_owned(),
        // Two roots that have one name, as those of `certs dev` have.
        CertificateError::BadSignature => "was signed by another root than the configured one".to_owned(),
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("has expired ({})", day(not_after.as_secs()))
        }
        CertificateError::NotValidYet => "is not valid yet; is this machine's clock right?".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}; is this machine's clock right?", day(not_before.as_secs()))
        }
        CertificateError::NotValidForName => "is for another host name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let (expected, presented) = (expected.to_str(), presented.join(", "));
            format!("is not for {expected}, but for {presented}")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is for another purpose".to_owned()
        }
        CertificateError::Revoked => "was revoked".to_owned(),
        other => format!("is no good: {other}"),
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is open, and its own text says the rest")]
fn alert_of(alert: AlertDescription) -> TlsFault {
    match alert {
        // rustls says so of both.
        AlertDescription::CertificateExpired => TlsFault::Refused("it has expired, or is not valid yet"),
        AlertDescription::UnknownCA => TlsFault::Refused("another root signed it"),
        AlertDescription::DecryptError => TlsFault::Refused("another root of the same name signed it"),
        AlertDescription::CertificateRevoked => TlsFault::Refused("it was revoked"),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => TlsFault::Refused("it is not accepted"),
        AlertDescription::CertificateRequired => TlsFault::CertificateWanted,
        other => TlsFault::Other(format!("the other side ended TLS: {other:?}")),
    }
}

/// The alert in the text of an error. What comes after the handshake, as all that a server says of a client's
/// certificate does under TLS 1.3, has lost its type by then: HTTP/2 keeps only the text.
fn alert_in_text(text: &str) -> Option<TlsFault> {
    let name = text.strip_prefix("received fatal alert: ")?;
    let known = ALERTS.into_iter().find(|alert| format!("{alert:?}") == name);
    Some(known.map_or_else(|| TlsFault::Other(format!("the other side ended TLS: {name}")), alert_of))
}

/// The day of a Unix second, in UTC.
fn day(second: u64) -> String {
    let second = i64::try_from(second).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(second).map(|time| time.strftime("%F").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found_inside_other_errors_and_put_into_words() {
        let wrapped = |fault: rustls::Error| tls_fault(&io::Error::other(io::Error::other(fault)));
        let of = |problem| wrapped(rustls::Error::InvalidCertificate(problem)).unwrap().to_string();
        assert_eq!(
            of(CertificateError::UnknownIssuer),
            "its certificate was not signed by the configured root"
        );
        assert!(of(CertificateError::BadSignature).contains("another root"));
        assert!(of(CertificateError::Expired).contains("expired"));
        assert!(of(CertificateError::NotValidYet).contains("not valid yet"));
        let alert = |alert| wrapped(rustls::Error::AlertReceived(alert)).unwrap();
        assert!(alert(AlertDescription::CertificateExpired).to_string().contains("not valid yet"));
        assert!(alert(AlertDescription::UnknownCA).to_string().contains("refuses this side's certificate"));
        assert_eq!(alert(AlertDescription::CertificateRequired), TlsFault::CertificateWanted);
        assert_eq!(tls_fault(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
        // As HTTP/2 hands them on.
        for kind in ALERTS.into_iter().chain([AlertDescription::InternalError]) {
            let text = rustls::Error::AlertReceived(kind).to_string();
            assert_eq!(tls_fault(&io::Error::new(io::ErrorKind::InvalidData, text)), Some(alert(kind)));
        }
    }
}
