//! How a host makes itself known to a broker: its name, and what proves that it may come in.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

/// The credentials for a broker. Printing them shows no secret. Brokers in the process need none.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::Access;
///
/// let password = Some("hunter2".to_owned().into());
/// let access = Access { user: Some("worker".into()), password, ..Access::default() };
/// assert!(access.is_given() && !format!("{access:?}").contains("hunter2"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The name that the broker shows for the connections of this process.
    pub client: Option<String>,
    /// The name of the user.
    pub user: Option<String>,
    /// The password of the user.
    pub password: Option<SecretString>,
    /// A token that stands for the user.
    pub token: Option<SecretString>,
    /// A file with credentials in the form of the broker.
    pub credentials_file: Option<PathBuf>,
    /// A PEM file with the authorities that the broker's certificate is checked against; those of Mozilla unless given.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the certificate of this client.
    pub certificate_file: Option<PathBuf>,
    /// A PEM file with the key of that certificate.
    pub key_file: Option<PathBuf>,
}

impl Access {
    /// Whether both prove the same, whatever the connection is called.
    pub fn is_same(&self, other: &Self) -> bool {
        let secret = |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        let files = |access: &Self| {
            let Self { credentials_file, ca_file, certificate_file, key_file, .. } = access.clone();
            [credentials_file, ca_file, certificate_file, key_file]
        };
        self.user == other.user
            && secret(&self.password) == secret(&other.password)
            && secret(&self.token) == secret(&other.token)
            && files(self) == files(other)
    }

    /// Whether there is anything in it but the name of the client.
    pub fn is_given(&self) -> bool {
        let secrets = self.password.is_some() || self.token.is_some();
        let files = [&self.credentials_file, &self.ca_file, &self.certificate_file, &self.key_file];
        secrets || self.user.is_some() || files.iter().any(|file| file.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_shows_no_secret() {
        let access =
            Access { user: Some("worker".into()), password: Some("hunter2".to_owned().into()), ..Access::default() };
        let shown = format!("{access:?}");
        assert!(shown.contains("worker") && !shown.contains("hunter2"), "{shown}");
    }
}
