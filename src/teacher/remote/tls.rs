//! Whom `https` addresses trust: a certificate authority that the user named, or one certificate by
//! its hash. The system's list of authorities plays no part.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// Trusts what the authorities in the PEM file `path` have signed.
///
/// # Errors
/// A file without certificates.
pub(super) fn trust_authority(path: &Path) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|it| it.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|it| it.to_string())?;
        roots.add(certificate).map_err(|it| it.to_string())?;
    }
    if roots.is_empty() {
        return Err("it contains no certificate in PEM form".to_owned());
    }
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

/// Trusts the one certificate whose DER form has this SHA-256, in hex, whatever its names, its
/// issuer and its dates say.
///
/// # Errors
/// `hash` is no such hash.
pub(super) fn trust_certificate(hash: &str) -> Result<ClientConfig, String> {
    let digits: String = hash.chars().filter(|c| *c != ':').collect();
    if digits.len() != 64 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err("it is not 64 hexadecimal digits".to_owned());
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Pinned { sha256: digits.to_ascii_lowercase(), provider });
    Ok(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|it| it.to_string())
}

/// Accepts one certificate. That the server has its key is checked as ever.
#[derive(Debug)]
struct Pinned {
    sha256: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = crate::hash::of_bytes(certificate.as_ref());
        if found == self.sha256 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General(format!("its certificate has the sha256 {found}, not the pinned one")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
