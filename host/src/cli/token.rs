//! `wasmpost token`: makes a token for the admin listener.

use clap::Args;

use super::{Failure, output};
use crate::config::{TokenHash, new_token};

/// Makes a token for the admin listener, and prints it with its hash.
///
/// The hash goes into the configuration of the host, under [admin.tokens.NAME]; the token goes to whoever is to have it.
/// The host cannot tell the token from the hash, so keep it where you keep secrets.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wasmpost token

In the configuration:
  [admin.tokens.prometheus]
  hash = \"sha256:…\"
  role = \"read\"")]
pub(super) struct Token {
    /// Print JSON: {"token":…,"hash":…}.
    #[arg(long)]
    json: bool,
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        let token = new_token()?;
        let hash = TokenHash::of(&token).to_string();
        if self.json {
            return output::json_line(&serde_json::json!({ "token": token, "hash": hash }));
        }
        output::line(format_args!("token  {token}"));
        output::line(format_args!("hash   {hash}"));
        Ok(())
    }
}
