//! Certificates made for one test: an authority that signs servers', and those of applications.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use azure_core::http::{ClientOptions, Transport};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256,
    RsaKeySize,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// A certificate authority that nobody knows but this test, and a certificate of it for 127.0.0.1.
/// Their files are in a directory of the caller's.
pub struct Certificates {
    directory: PathBuf,
    server: Certificate,
    server_key: KeyPair,
}

impl Certificates {
    /// Makes the authority and the server's certificate, and writes them to `directory`.
    ///
    /// # Errors
    /// Where they cannot be made or written.
    pub fn make(directory: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "whocalled tests");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let server_key = KeyPair::generate()?;
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&server_key, &authority)?;
        fs::write(directory.join("authority.pem"), authority.pem())?;
        fs::write(directory.join("server.pem"), server.pem())?;
        fs::write(directory.join("server.key"), server_key.serialize_pem())?;
        Ok(Self { directory: directory.to_owned(), server, server_key })
    }

    /// The authority's certificate, for `SSL_CERT_FILE`.
    pub fn authority_file(&self) -> PathBuf {
        self.directory.join("authority.pem")
    }

    /// The server's certificate and its key.
    pub fn server_files(&self) -> (PathBuf, PathBuf) {
        (self.directory.join("server.pem"), self.directory.join("server.key"))
    }

    /// What a TLS server of 127.0.0.1 needs.
    ///
    /// # Errors
    /// Where rustls does not take the certificate.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.server_key.serialized_der().to_vec()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::clone(self.server.der())], key)?;
        Ok(Arc::new(config))
    }

    /// Options for a client of Azure's SDK in the test itself, that trusts the authority.
    ///
    /// # Errors
    /// Where the HTTP client cannot be built.
    pub fn client_options(&self) -> Result<ClientOptions> {
        let trusted = reqwest::Certificate::from_pem(&fs::read(self.authority_file())?)?;
        let client = reqwest::Client::builder().tls_certs_only([trusted]).build()?;
        Ok(ClientOptions { transport: Some(Transport::new(Arc::new(client))), ..ClientOptions::default() })
    }

    /// Writes an application's certificate and RSA key to one PEM file, and gives the file and the
    /// certificate in DER.
    ///
    /// # Errors
    /// Where they cannot be made or written.
    pub fn application(&self) -> Result<(PathBuf, Vec<u8>)> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let certificate = CertificateParams::default().self_signed(&key)?;
        let file = self.directory.join("application.pem");
        fs::write(&file, certificate.pem() + &key.serialize_pem())?;
        Ok((file, certificate.der().to_vec()))
    }
}
