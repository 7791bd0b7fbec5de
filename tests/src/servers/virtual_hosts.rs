//! One server of RabbitMQ for all cases of a test binary, with a virtual host for each of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, RwLock};

use libtest_mimic::Trial;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use super::{RabbitServer, free_port};
use crate::certificates::Authority;

/// As many cases as there can be: virtual hosts are defined when the server starts, which is faster than later.
const HOSTS_MAX: usize = 64;

/// A server that runs, or why there is none.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    running: Mutex<RabbitServer>,
    port: u16,
    encrypted_port: u16,
    /// Cases that restart the server have it alone.
    alone: RwLock<()>,
    files: tempfile::TempDir,
}

/// The virtual host of one case.
pub struct VirtualHost(Option<(Server, usize)>);

/// The runtime that the server was started on.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

impl Server {
    /// Starts a server; an error tells what is missing for it.
    async fn start() -> Result<Self, String> {
        let definitions = tempfile::tempdir().unwrap();
        let file = definitions.path().join("definitions.json");
        std::fs::write(&file, definition()).unwrap();
        readable(definitions.path().to_owned());
        let encrypted_port = free_port();
        certify(definitions.path());
        let config = format!(
            "load_definitions = {0}/definitions.json\nlisteners.ssl.1 = 127.0.0.1:{encrypted_port}\n\
             ssl_options.cacertfile = {0}/ca.pem\nssl_options.certfile = {0}/server.pem\n\
             ssl_options.keyfile = {0}/server.key\nssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = false",
            definitions.path().display()
        );
        let running = match RabbitServer::start_with(&config).await {
            Ok(running) => running,
            Err(missing) if missing.contains("missing") => return Err(missing),
            Err(failure) => panic!("{failure}"),
        };
        let port = running.port();
        let inner =
            Inner { running: Mutex::new(running), port, encrypted_port, alone: RwLock::new(()), files: definitions };
        Ok(Self(Arc::new(inner)))
    }

    /// The virtual host with a number, for one case.
    pub fn virtual_host(&self, number: usize) -> VirtualHost {
        assert!(number < HOSTS_MAX, "more cases than virtual hosts");
        VirtualHost(Some((self.clone(), number)))
    }
}

impl VirtualHost {
    /// No virtual host, for what is asked before there is a server.
    pub fn none() -> Self {
        Self(None)
    }

    /// Where it is, with the user that every new server has.
    pub fn url(&self) -> String {
        self.url_at(self.port())
    }

    /// The same at another port, such as that of a proxy.
    pub fn url_at(&self, port: u16) -> String {
        let (_, number) = self.0.as_ref().unwrap();
        format!("amqp://guest:guest@127.0.0.1:{port}/case-{number}")
    }

    /// The same, encrypted, with no user in it.
    pub fn encrypted_url(&self) -> String {
        let (server, number) = self.0.as_ref().unwrap();
        format!("amqps://localhost:{}/case-{number}", server.0.encrypted_port)
    }

    /// A file beside the certificates: `ca.pem`, and those of a client, `client.pem` and `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.as_ref().unwrap().0.0.files.path().join(name)
    }

    /// The port of its server.
    pub fn port(&self) -> u16 {
        self.0.as_ref().unwrap().0.0.port
    }

    /// Kills its server and starts it again, with what it had.
    pub async fn restart_server(&self) {
        let (server, _) = self.0.as_ref().unwrap();
        let mut running = server.0.running.lock().await;
        // A node of RabbitMQ 3.10 writes a few seconds late which queues it has. Killed before that, and with no other
        // beside it, it comes back with a queue that never answers.
        running.writes_down().await.unwrap();
        running.restart().await.unwrap();
    }
}

/// A case, which is ignored where there is no server. One whose name tells of a restart has the server alone.
pub fn trial<F>(name: String, server: Result<Server, String>, case: impl FnOnce(Server) -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    let Ok(server) = server else { return Trial::test(name, || Ok(())).with_ignored_flag(true) };
    let alone = name.contains("restart");
    Trial::test(name, move || {
        let lock = &server.0.alone;
        let (_alone, _together) = match alone {
            true => (Some(lock.write().unwrap_or_else(|poisoned| poisoned.into_inner())), None),
            false => (None, Some(lock.read().unwrap_or_else(|poisoned| poisoned.into_inner()))),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(case(server.clone()));
        Ok(())
    })
}

/// Runs cases against a server of their own.
pub fn run(cases: impl FnOnce(&Result<Server, String>) -> Vec<Trial>) -> ! {
    let arguments = libtest_mimic::Arguments::from_args();
    let server = match arguments.list {
        true => Err("not started to list".to_owned()),
        false => runtime().block_on(Server::start()),
    };
    if let Err(missing) = &server {
        eprintln!("{missing}");
    }
    let trials = cases(&server);
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(server);
    conclusion.exit()
}

fn definition() -> String {
    let hosts: Vec<_> = (0..HOSTS_MAX).map(|number| format!("case-{number}")).chain(["/".to_owned()]).collect();
    let named = hosts.iter().map(|name| serde_json::json!({ "name": name }));
    let allowed = hosts.iter().map(
        |name| serde_json::json!({ "user": "guest", "vhost": name, "configure": ".*", "write": ".*", "read": ".*" }),
    );
    let user = serde_json::json!({ "name": "guest", "password": "guest", "tags": "administrator" });
    serde_json::json!({
        "users": [user],
        "vhosts": named.collect::<Vec<_>>(),
        "permissions": allowed.collect::<Vec<_>>(),
    })
    .to_string()
}

/// The server may run as another user.
fn readable(directory: PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes certificates of one authority, for the server and for a client.
fn certify(directory: &Path) {
    let write = |file: &str, text: &str| std::fs::write(directory.join(file), text).unwrap();
    let authority = Authority::new();
    write("ca.pem", authority.pem());
    for name in ["server", "client"] {
        let certified = authority.certify("localhost");
        write(&format!("{name}.pem"), &certified.pem());
        write(&format!("{name}.key"), &certified.key_pem());
    }
}
