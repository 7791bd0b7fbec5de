//! The admin listener as it is written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use wasmpost_sandbox::{Size, read_plain_file};

use super::ConfigError;
use super::admin::{ADMIN_ADDRESS, AdminConfig, AdminToken, TokenHash};
use super::raw::Source;
use crate::gate::{Caller, Role};
use crate::tenant::Tenant;

/// The largest file with a hash.
const HASH_FILE_BYTES_MAX: Size = Size(4 << 10);
/// The most tokens: each is compared with that of a request.
const TOKENS_MAX: usize = 1000;

/// The admin listener: health, metrics, the JSON API and the page. There is none unless this table is given, or `run
/// --admin`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAdmin {
    /// The address and port to listen on; 127.0.0.1:7390 unless given. Anything but loopback takes a token, and TLS or
    /// insecure.
    #[schemars(with = "String")]
    listen: Spanned<SocketAddr>,
    /// A PEM file with the certificate of the listener, and those that lead to an authority.
    #[schemars(with = "Option<String>")]
    certificate_file: Option<Spanned<PathBuf>>,
    /// A PEM file with the key of that certificate.
    #[schemars(with = "Option<String>")]
    key_file: Option<Spanned<PathBuf>>,
    /// Whether other machines may reach it without TLS, because a proxy before it has TLS.
    insecure: bool,
    /// The tokens that it knows, by name. Without any, and on loopback, a token is made for each run and printed.
    tokens: BTreeMap<String, RawAdminToken>,
}

/// A token: its hash, and the rights of whoever has it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawAdminToken {
    /// The hash of the token, as `wasmpost token` prints it.
    #[schemars(with = "Option<String>")]
    hash: Option<Spanned<String>>,
    /// A file with the hash, relative to this file.
    #[schemars(with = "Option<String>")]
    hash_file: Option<Spanned<PathBuf>>,
    /// The rights of its holder: `read`, `operate` or `admin`.
    #[schemars(with = "Role")]
    role: Spanned<Role>,
    /// The tenant whose things are all that its holder sees.
    #[schemars(with = "Option<String>")]
    tenant: Option<Spanned<String>>,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self {
            listen: Spanned::new(0..0, ADMIN_ADDRESS),
            certificate_file: None,
            key_file: None,
            insecure: false,
            tokens: BTreeMap::new(),
        }
    }
}

impl RawAdmin {
    pub(super) fn checked(
        self,
        source: &Source<'_>,
        tenants: &BTreeMap<String, Tenant>,
    ) -> Result<AdminConfig, ConfigError> {
        if self.tokens.len() > TOKENS_MAX {
            return Err(source.fault(&self.listen, format!("there are more than {TOKENS_MAX} tokens; remove some")));
        }
        let tokens = self.tokens.into_iter().map(|(name, token)| token.checked(name, source, tenants));
        let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
        let file = |path: &Spanned<PathBuf>| {
            let file = source.resolved(path.get_ref());
            let fault = || source.fault(path, format!("there is no file {}", file.display()));
            file.is_file().then(|| file.clone()).ok_or_else(fault)
        };
        let tls = match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Some((file(certificate)?, file(key)?)),
            (None, None) => None,
            (Some(alone), None) | (None, Some(alone)) => {
                return Err(source.fault(alone, "certificate_file and key_file have to be given together"));
            }
        };
        let config = AdminConfig { listen: *self.listen.get_ref(), tokens, tls, insecure: self.insecure };
        match config.fault() {
            Some(fault) => Err(source.fault(&self.listen, fault)),
            None => Ok(config),
        }
    }
}

impl RawAdminToken {
    fn checked(
        self,
        name: String,
        source: &Source<'_>,
        tenants: &BTreeMap<String, Tenant>,
    ) -> Result<AdminToken, ConfigError> {
        let hash: TokenHash = match (&self.hash, &self.hash_file) {
            (Some(hash), None) => hash.get_ref().parse().map_err(|fault: String| source.fault(hash, fault))?,
            (None, Some(path)) => {
                let file = source.resolved(path.get_ref());
                let fault = |fault: String| source.fault(path, format!("{}: {fault}", file.display()));
                let bytes = read_plain_file(&file, HASH_FILE_BYTES_MAX).map_err(|error| fault(error.to_string()))?;
                String::from_utf8_lossy(&bytes).trim().parse().map_err(fault)?
            }
            _ => {
                let advice = "`wasmpost token` makes one";
                return Err(source
                    .fault(&self.role, format!("token {name:?} needs a hash or a hash_file, and not both; {advice}")));
            }
        };
        if let Some(tenant) = self.tenant.as_ref().filter(|tenant| !tenants.contains_key(tenant.get_ref())) {
            let name = tenant.get_ref();
            return Err(source.fault(tenant, format!("unknown tenant {name:?}; describe it under [tenants.{name}]")));
        }
        let tenant = self.tenant.map(Spanned::into_inner);
        Ok(AdminToken { hash, caller: Caller { name, role: *self.role.get_ref(), tenant } })
    }
}
