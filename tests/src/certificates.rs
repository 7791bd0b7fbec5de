//! Certificates for servers and clients that speak TLS, of an authority of their own.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority that nobody trusts unless told to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
}

/// A certificate of an authority, and its key.
pub struct Certified {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    /// A new one.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A certificate whose issuer has its own name is taken for one that has none.
        params.distinguished_name.push(DnType::CommonName, "authority of the tests");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let pem = certificate.pem();
        let der = certificate.der().to_vec();
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    /// Its own certificate, as text.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its own certificate, in bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Certifies a new key for whoever has this name.
    pub fn certify(&self, name: &str) -> Certified {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        Certified { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }
}

impl Certified {
    /// The certificate, as text.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The key, as text.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The certificate, in bytes.
    pub fn der(&self) -> Vec<u8> {
        self.certificate.der().to_vec()
    }

    /// The key, in bytes.
    pub fn key_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }
}
