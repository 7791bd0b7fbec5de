//! Changes to the files of an example when a project of another name, in another place, is made from it.

use super::ProjectName;

/// The name of the examples, as packages and as part of what their languages generate.
const NAME: &str = "webhook-triage";
const NAME_WITH_UNDERSCORES: &str = "webhook_triage";
/// The root of the repository, as an example sees it.
const ROOT: &str = "../../";
/// The address of the repository.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");

/// The text of a file of an example, as the project has it.
pub(super) fn renamed(path: &str, text: &str, name: &ProjectName) -> String {
    let is_npm = path.ends_with("package.json") || path.ends_with("package-lock.json");
    let plain = if is_npm { name.as_str().to_lowercase() } else { name.as_str().to_owned() };
    let text = text.replace(NAME, &plain).replace(NAME_WITH_UNDERSCORES, &name.with_underscores());
    // The contract is part of the project; everything else that a text refers to stays in the repository.
    let text = text.replace(&format!("{ROOT}wit"), "wit").replace(&format!("]({ROOT}"), &format!("]({REPOSITORY}"));
    if path == "Cargo.lock" { in_order(&text) } else { text }
}

/// The packages of a lock file in the order of their names, in which cargo wants to find them.
fn in_order(lock: &str) -> String {
    const PACKAGE: &str = "[[package]]\n";
    let mut parts = lock.split(PACKAGE);
    let head = parts.next().unwrap_or_default();
    let mut packages: Vec<_> = parts.map(|package| package.trim_end()).collect();
    packages.sort_by_key(|package| package.lines().next().map(|line| line.trim_matches('"').to_owned()));
    let packages: Vec<_> = packages.into_iter().map(|package| format!("{PACKAGE}{package}\n")).collect();
    format!("{head}{}", packages.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, text: &str) -> String {
        renamed(path, text, &"My-Receiver".parse().unwrap())
    }

    #[test]
    fn a_package_has_the_name_of_the_project_as_its_language_writes_it() {
        assert_eq!(text("Cargo.toml", "name = \"webhook-triage\""), "name = \"My-Receiver\"");
        assert_eq!(text("README.md", "release/webhook_triage.wasm"), "release/My_Receiver.wasm");
        assert_eq!(text("package.json", "\"name\": \"webhook-triage\""), "\"name\": \"my-receiver\"");
    }

    #[test]
    fn links_lead_to_the_contract_in_the_project_and_to_the_repository() {
        assert_eq!(text("README.md", "[a](../../wit/messaging.wit)"), "[a](wit/messaging.wit)");
        assert_eq!(text("part/src/lib.rs", "path: \"../../../wit\""), "path: \"../wit\"");
        let script = text("README.md", "[b](../../scripts/guest-cargo.sh)");
        assert_eq!(script, "[b](https://github.com/wasmpost/wasmpost/blob/main/scripts/guest-cargo.sh)");
    }

    #[test]
    fn a_lock_file_stays_in_order() {
        let lock =
            "version = 4\n\n[[package]]\nname = \"serde\"\nversion = \"1\"\n\n[[package]]\nname = \"webhook-triage\"\n";
        let renamed = renamed("Cargo.lock", lock, &"billing".parse().unwrap());
        assert_eq!(
            renamed,
            "version = 4\n\n[[package]]\nname = \"billing\"\n\n[[package]]\nname = \"serde\"\nversion = \"1\"\n"
        );
    }
}
