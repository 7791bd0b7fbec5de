//! The confinement of a hostile host: rights that it gives up before it has threads, and so before it runs anything of a
//! tenant.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use wasmpost_sandbox::{Confined, Files, Kernel, SandboxError, confine_server};

use super::HostError;
use crate::config::Config;
use crate::control::socket_path;
use crate::registry::Address;

/// Directories in which SQLite makes temporary files, unless variables name others.
const TEMPORARY: [&str; 3] = ["/var/tmp", "/usr/tmp", "/tmp"];
/// Files in which the system tells the number of processors, the number of mappings that a process can have, and which of
/// its starts this is.
const MACHINE: [&str; 5] =
    ["/proc/sys/vm", "/proc/sys/kernel/random", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/dev/urandom"];
/// Files that the loader of programs reads.
const LOADER: [&str; 2] = ["/etc/ld.so.cache", "/etc/ld.so.preload"];
/// Files that the C library reads to resolve a name, and TLS to check a certificate.
const NETWORK: [&str; 6] = [
    "/etc",
    "/usr/lib/ssl",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/run/systemd/resolve",
];

/// Has this thread, and all threads that it starts from now on, give up what serving the configuration does not need, if
/// the host is a hostile one. The process keeps what is given back as long as it lives.
///
/// It has to be called before any other thread starts, for those that run keep their rights.
pub fn confine(config: &Config) -> Result<Option<Confined>, HostError> {
    if !config.engine.hostile {
        return Ok(None);
    }
    if let Some(missing) = Kernel::probe().missing() {
        return Err(SandboxError::Unconfined { missing }.into());
    }
    if let Some(cache) = &config.engine.cache_dir {
        // An error is reported when it is opened.
        drop(std::fs::DirBuilder::new().recursive(true).mode(0o700).create(cache));
    }
    confine_server(&files(config)).map(Some).map_err(HostError::Confine)
}

/// The files that a host with this configuration needs.
fn files(config: &Config) -> Files {
    // Standard input and outputs of a child can lead nowhere.
    let mut files = Files { change: vec!["/dev/null".into()], ..Files::default() };
    files.read.extend(MACHINE.into_iter().chain(LOADER).map(PathBuf::from));
    files.change.extend(config.engine.cache_dir.clone());
    for receiver in &config.receivers {
        // A new component takes the place of an old one, so the directory counts, and that to which a link leads.
        files.read.push(directory(&receiver.component));
        files.read.extend(receiver.component.canonicalize().ok().map(|file| directory(&file)));
    }
    for (_, address) in config.brokers_in_use() {
        add_broker(&mut files, address);
    }
    let tls = config.admin.iter().filter_map(|admin| admin.tls.as_ref());
    files.read.extend(tls.flat_map(|(certificate, key)| [directory(certificate), directory(key)]));
    let resolves = config.brokers_in_use().any(|(_, address)| address.scheme().is_ok_and(|scheme| scheme.is_remote))
        || config.receivers.iter().any(|receiver| !receiver.grants.http.is_empty());
    if resolves {
        files.read.extend(NETWORK.map(PathBuf::from));
        files.read.extend(Path::new("/etc/resolv.conf").canonicalize().ok().map(|file| directory(&file)));
        files
            .read
            .extend(["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from));
    }
    add_compiler(&mut files);
    files
}

fn add_broker(files: &mut Files, address: &Address) {
    if let Some(file) = address.file() {
        // Its log and the socket for other commands are made beside it.
        files.change.push(directory(&socket_path(&file)));
        files.change.extend(temporary());
    }
    let access = &address.access;
    let given = [&access.credentials_file, &access.ca_file, &access.certificate_file, &access.key_file];
    // They are read at every connection, and replaced as components are.
    files.read.extend(given.into_iter().flatten().map(|file| directory(file)));
}

/// The directory in which SQLite makes temporary files.
fn temporary() -> Option<PathBuf> {
    let told = ["SQLITE_TMPDIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    told.chain(TEMPORARY.map(PathBuf::from)).find(|directory| directory.is_dir())
}

/// The program itself, which compiles components as a child, with the loader of programs; and directories of libraries that
/// the two are linked to.
fn add_compiler(files: &mut Files) {
    files.run.push("/proc/self/exe".into());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapped = maps.lines().filter_map(|line| line.find('/').and_then(|start| line.get(start..))).map(Path::new);
    for file in mapped {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("ld-") || name.starts_with("ld.") {
            files.run.push(file.to_owned());
        }
        let library = directory(file);
        if name.contains(".so") && !files.read.contains(&library) {
            files.read.push(library);
        }
    }
}

/// The directory of a file.
fn directory(file: &Path) -> PathBuf {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ReceiverConfig;

    #[test]
    fn what_finds_names_is_read_only_where_names_are_looked_for() {
        let config = |broker: &str| {
            let receiver = ReceiverConfig::new("orders", "/srv/components/orders.wasm".into());
            files(&Config::of_one(receiver, Address::parse(broker).unwrap()))
        };
        let local = config("sqlite:/srv/queue/wasmpost.db");
        assert!(local.read.contains(&"/srv/components".into()) && local.change.contains(&"/srv/queue".into()));
        assert!(!local.read.contains(&"/etc".into()), "{local:?}");
        assert!(config("nats://localhost:4222").read.contains(&"/etc".into()));
    }

    #[test]
    fn the_program_and_its_loader_alone_are_run() {
        let mut files = Files::default();
        add_compiler(&mut files);
        let is_known = |file: &PathBuf| file.ends_with("exe") || file.to_string_lossy().contains("/ld");
        assert!(files.run.iter().all(is_known), "{files:?}");
        assert!(!files.read.contains(&"/".into()), "{files:?}");
    }
}
