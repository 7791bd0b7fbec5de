//! The admin listener of a host: its address, its tokens, its TLS.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::gate::{Caller, Role};

/// The address of the admin listener unless another is given.
pub const ADMIN_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7390);
/// How a token begins, so that scanners for secrets know one.
const TOKEN_PREFIX: &str = "wasmpost_";
/// How many random bytes a token has.
const TOKEN_BYTES: usize = 32;
/// How the text of a hash begins, which says how it was made.
const HASH_PREFIX: &str = "sha256:";

/// The admin listener of a host.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The tokens that it knows.
    pub tokens: Vec<AdminToken>,
    /// The files of the certificate and the key of TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether it may be reached from other machines without TLS.
    pub insecure: bool,
}

/// A token of the admin listener: its hash, and the rights of whoever has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// The hash of the token.
    pub hash: TokenHash,
    /// The rights of its holder.
    pub caller: Caller,
}

/// The SHA-256 of a token. Tokens are random and long, so that nothing slower is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl AdminConfig {
    /// A listener on an address, without tokens.
    pub fn on(listen: SocketAddr) -> Self {
        Self { listen, tokens: Vec::new(), tls: None, insecure: false }
    }

    /// The reason why it may not listen so, if there is one.
    pub fn fault(&self) -> Option<String> {
        let address = self.listen;
        if address.ip().is_loopback() {
            return None;
        }
        if self.tokens.is_empty() {
            let advice = "make one with `wasmpost token` and name it under [admin.tokens.NAME]";
            return Some(format!("{address} can be reached from other machines, which takes a token; {advice}"));
        }
        let is_open = self.tls.is_none() && !self.insecure;
        is_open.then(|| {
            let advice = "give certificate_file and key_file, or insecure = true behind a proxy that has TLS";
            format!("{address} can be reached from other machines without TLS; {advice}")
        })
    }

    /// A token for this run, where none is configured.
    pub fn with_token_of_run(mut self) -> std::io::Result<(Self, Option<String>)> {
        if !self.tokens.is_empty() {
            return Ok((self, None));
        }
        let token = new_token()?;
        let caller = Caller { name: "run".into(), role: Role::Admin, tenant: None };
        self.tokens.push(AdminToken { hash: TokenHash::of(&token), caller });
        Ok((self, Some(token)))
    }
}

/// A new random token.
pub fn new_token() -> std::io::Result<String> {
    use base64::Engine;
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(format!("{TOKEN_PREFIX}{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)))
}

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::str::FromStr for TokenHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is not the hash of a token; `wasmpost token` prints one");
        let digits = text.strip_prefix(HASH_PREFIX).filter(|digits| digits.is_ascii()).ok_or_else(fault)?;
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() {
            return Err(fault());
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            let pair = digits.get(2 * at..2 * at + 2).ok_or_else(fault)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| fault())?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HASH_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        let one = new_token().unwrap();
        let other = new_token().unwrap();
        let hash: TokenHash = TokenHash::of(&one).to_string().parse().unwrap();
        assert!(hash.is(&TokenHash::of(&one)) && !hash.is(&TokenHash::of(&other)));
        assert!(one.len() > 40 && one.starts_with("wasmpost_") && !format!("{hash:?}").contains(&hash.to_string()));
        for bad in [&one, "sha256:00", "md5:00", &"é".repeat(40), &format!("sha256:{}", "é".repeat(32))] {
            assert!(bad.parse::<TokenHash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn another_machine_needs_a_token_and_tls_or_the_word_insecure() {
        let open = AdminConfig::on("0.0.0.0:7390".parse().unwrap());
        assert!(open.fault().unwrap().contains("token"));
        let (with_token, token) = open.with_token_of_run().unwrap();
        assert!(token.is_some() && with_token.fault().unwrap().contains("TLS"));
        assert_eq!(AdminConfig { insecure: true, ..with_token.clone() }.fault(), None);
        assert_eq!(AdminConfig { tls: Some(Default::default()), ..with_token }.fault(), None);
        assert_eq!(AdminConfig::on("[::1]:0".parse().unwrap()).fault(), None);
    }
}
