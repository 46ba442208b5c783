//! Certificates, and clients that use them.

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::{Error, ErrorKind};

/// Certificates for `rediss:`, each as the text of a PEM file.
///
/// Without a CA the system's trust store decides.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) key: Option<Vec<u8>>,
}

/// A client of this server, which is not asked for anything yet.
///
/// # Errors
///
/// `Invalid` for certificates that can never work.
pub(super) fn open(info: ConnectionInfo, tls: &Tls, shown: &str) -> Result<Client, Error> {
    let nodelay = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_tcp_settings(nodelay);
    let secure = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    if !secure && (tls.ca.is_some() || tls.certificate.is_some() || tls.key.is_some()) {
        return Err(
            Error::new(ErrorKind::Invalid, format!("connecting to {shown}"))
                .hint("certificates are for rediss:// URLs; this one is not encrypted"),
        );
    }
    let client = if secure {
        // The library leaves the choice of cryptography to the application; one that has
        // chosen already keeps its choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client_tls = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Some(ClientTlsConfig {
                client_cert: certificate.clone(),
                client_key: key.clone(),
            }),
            (None, None) => None,
            _ => {
                return Err(
                    Error::new(ErrorKind::Invalid, format!("connecting to {shown}"))
                        .hint("a client certificate and its key go together"),
                );
            }
        };
        if tls.ca.as_deref().is_some_and(|pem| !holds_certificate(pem)) {
            return Err(bad_pem(shown));
        }
        let certificates = TlsCertificates {
            client_tls,
            root_cert: tls.ca.clone(),
        };
        Client::build_with_tls(info, certificates)
    } else {
        Client::open(info)
    };
    client.map_err(|_| bad_pem(shown))
}

/// Whether a PEM text holds a certificate: without one every server would be refused, and the
/// handshake could not say why.
fn holds_certificate(pem: &[u8]) -> bool {
    let mut found = CertificateDer::pem_slice_iter(pem);
    found.next().is_some_and(|first| first.is_ok())
}

fn bad_pem(shown: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("reading the certificates for {shown}"),
    )
    .hint("CA, certificate and key are PEM files")
}
