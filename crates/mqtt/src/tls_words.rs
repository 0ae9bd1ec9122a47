//! Why a TLS handshake failed, in the words of the person who has to fix it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// The TLS error inside an I/O error, if there is one.
pub(crate) fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Why the broker refused a handshake.
pub(crate) fn broker_side(error: &io::Error) -> String {
    match tls_error(error) {
        Some(Error::NoCertificatesPresented) => "the client sent no certificate".into(),
        Some(Error::InvalidCertificate(reason)) => {
            format!("client certificate: {}", certificate(reason))
        }
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "not TLS (plaintext MQTT on the TLS port?)".into()
        }
        Some(Error::AlertReceived(alert)) => {
            format!("the client refused the broker: {}", refused_by_peer(*alert))
        }
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the client closed the connection during the handshake".into()
        }
        None => error.to_string(),
    }
}

/// What is wrong with a certificate.
pub(crate) fn certificate(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => "issued by an authority that is not trusted here".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "not valid yet".into()
        }
        CertificateError::Revoked => "revoked".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "not made for this purpose (extended key usage)".into()
        }
        CertificateError::ApplicationVerificationFailure => "not admitted here".into(),
        CertificateError::NotValidForName => "made for another name".into(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "made for another name: expected {}, it has {}",
            expected.to_str(),
            presented.join(", ")
        ),
        CertificateError::BadSignature => {
            "its signature is wrong: another authority of the same name issued it, or it was altered"
                .into()
        }
        other => format!("{other:?}"),
    }
}

/// What the other side meant by an alert about our certificate (RFC 8446 §6.2).
pub(crate) fn refused_by_peer(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "it requires a certificate and got none".into(),
        AlertDescription::UnknownCA => "it does not trust the issuer of the certificate".into(),
        AlertDescription::CertificateRevoked => "the certificate is revoked".into(),
        AlertDescription::CertificateExpired => "the certificate has expired".into(),
        AlertDescription::BadCertificate => "the certificate is malformed or does not fit".into(),
        AlertDescription::UnsupportedCertificate => {
            "the certificate is not made for this purpose".into()
        }
        AlertDescription::CertificateUnknown => "the certificate was not accepted".into(),
        AlertDescription::DecryptError => {
            "a signature does not verify: another authority of the same name issued the certificate, or it was altered"
                .into()
        }
        AlertDescription::AccessDenied => "access denied".into(),
        AlertDescription::HandshakeFailure => {
            "no agreement on parameters, or a certificate is missing".into()
        }
        AlertDescription::ProtocolVersion => "no common TLS version".into(),
        other => format!("alert {other:?}"),
    }
}

/// True if this alert speaks about the certificate we presented.
pub(crate) fn is_about_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure
            | AlertDescription::DecryptError
    )
}
