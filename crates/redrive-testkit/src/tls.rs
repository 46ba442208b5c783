//! Certificates for one test: an authority, a server and a client, made on the spot.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use redis::{ClientTlsConfig, TlsCertificates};

use crate::fail;

/// PEM files of a certificate authority and of a server and a client certificate signed by it.
///
/// The server's certificate is for `127.0.0.1` and `localhost`.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    ca: PathBuf,
    server: Identity,
    client: Identity,
}

#[derive(Clone, Debug)]
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
}

impl TlsFiles {
    /// Writes `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key` into an existing directory, which
    /// has to outlive the server that uses them.
    ///
    /// # Panics
    ///
    /// If the certificates cannot be made or written.
    pub fn generate(directory: &Path) -> Self {
        Self::try_generate(directory).unwrap_or_else(|error| {
            let directory = directory.display();
            fail(&format!("cannot make certificates in {directory}: {error}"))
        })
    }

    fn try_generate(directory: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut authority = named(&[], "redrive test authority")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let ca = directory.join("ca.pem");
        fs::write(&ca, authority.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(authority, key);

        let identity = |name: &str, hosts: &[&str], purpose| {
            let mut params = named(hosts, name)?;
            params.use_authority_key_identifier_extension = true;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate()?;
            let files = Identity {
                certificate: directory.join(format!("{name}.pem")),
                key: directory.join(format!("{name}.key")),
            };
            fs::write(&files.certificate, params.signed_by(&key, &issuer)?.pem())?;
            fs::write(&files.key, key.serialize_pem())?;
            Ok::<_, Box<dyn std::error::Error>>(files)
        };
        Ok(Self {
            server: identity(
                "server",
                &["127.0.0.1", "localhost"],
                ExtendedKeyUsagePurpose::ServerAuth,
            )?,
            client: identity("client", &[], ExtendedKeyUsagePurpose::ClientAuth)?,
            ca,
        })
    }

    /// What the `redis` crate needs to trust this authority, without a client certificate.
    ///
    /// # Panics
    ///
    /// If the files are gone.
    pub fn trust(&self) -> TlsCertificates {
        TlsCertificates {
            client_tls: None,
            root_cert: Some(read(&self.ca)),
        }
    }

    /// As [`TlsFiles::trust`], and showing the client certificate.
    ///
    /// # Panics
    ///
    /// If the files are gone.
    pub fn trust_as_client(&self) -> TlsCertificates {
        TlsCertificates {
            client_tls: Some(ClientTlsConfig {
                client_cert: read(&self.client.certificate),
                client_key: read(&self.client.key),
            }),
            ..self.trust()
        }
    }

    /// The authority's certificate.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// The server's certificate.
    pub fn server_certificate(&self) -> &Path {
        &self.server.certificate
    }

    /// The server's private key.
    pub fn server_key(&self) -> &Path {
        &self.server.key
    }

    /// The client's certificate.
    pub fn client_certificate(&self) -> &Path {
        &self.client.certificate
    }

    /// The client's private key.
    pub fn client_key(&self) -> &Path {
        &self.client.key
    }
}

/// Makes `ring` the process's TLS provider: the `redis` crate leaves the choice to the application. Calling it twice
/// does no harm.
pub fn install_crypto_provider() {
    // An error says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn named(hosts: &[&str], name: &str) -> Result<CertificateParams, rcgen::Error> {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| fail(&format!("cannot read {}: {error}", path.display())))
}
