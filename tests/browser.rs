//! The page in a real browser: each screen is rendered by its own script, and texts that attack stay texts.
//!
//! Without Chromium, which `make setup-brokers` installs, they are shown as ignored; in CI they fail. With
//! `WASMPOST_PICTURES` set to a directory, a picture of each screen is kept there.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Trial};
use wasmpost_tests::{Place, guest, stats, wait_until};

const ATTACK: &str = "<img src=x onerror=\"document.title='taken over'\"><script>document.title='taken over'</script>";
/// The width and the height of a window, and of a phone.
const SIZES: [(&str, &str); 2] = [("window", "1280,900"), ("phone", "390,844")];

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn main() -> ExitCode {
    let is_there = Command::new("chromium").arg("--version").output().is_ok_and(|ran| ran.status.success());
    let is_missing = !is_there && std::env::var_os("CI").is_none();
    let trial = Trial::test("every screen is rendered in a browser, and texts that attack stay texts", || {
        every_screen_is_rendered();
        Ok(())
    });
    let kind = if is_missing { "chromium is missing here" } else { "" };
    let trials = vec![trial.with_kind(kind).with_ignored_flag(is_missing)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A browser that shows a page, with a profile of its own.
fn browser(place: &Place) -> Command {
    let mut command = Command::new("chromium");
    command.args(["--headless=new", "--disable-gpu", "--no-first-run", "--disable-extensions", "--hide-scrollbars"]);
    // In a container there is no user namespace for the sandbox of the browser.
    command.args(["--no-sandbox", "--virtual-time-budget=6000"]);
    command.arg(format!("--user-data-dir={}", place.path().join("profile").display()));
    command.stderr(Stdio::null());
    command
}

fn every_screen_is_rendered() {
    let place = Place::default();
    let component = guest("rejecting").display().to_string();
    place.write("wasmpost.toml", format!("[[receivers]]\nqueue = \"orders\"\ncomponent = \"{component}\"\n"));
    let mut host = place.command(&["run", "--admin", "127.0.0.1:0"]);
    let mut host = Running(host.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut page = String::new();
    BufReader::new(host.0.stdout.take().unwrap()).read_line(&mut page).unwrap();
    let page = page.trim().strip_prefix("page: ").unwrap();
    let (origin, token) = page.split_once("/#token=").unwrap();
    let attribute = format!("X-Attack={ATTACK}");
    let publish = ["publish", "orders", "-", "--id", "first", "--key", ATTACK, "--attribute", &attribute];
    place.run_with(&publish, ATTACK).exits(0);
    wait_until("the message died", || stats(&place, "orders")["dead"] == 1);
    let screens: [(&str, &[&str]); 7] = [
        ("overview", &["Needs attention", "1 dead letters", "orders"]),
        ("queues/orders", &["Queue orders", "Purge all", "Publish a message"]),
        ("dead-letters", &["first", "not for me", "Redrive selected"]),
        ("dead-letters/first", &["Dead letter first", "not for me", "Attempt 1", "&lt;img src=x", "hidden"]),
        ("receivers", &["Reload components", "orders"]),
        ("receivers/orders", &["Receiver orders", "Use against limits", "Log"]),
        ("tasks", &["Nobody changed anything"]),
    ];
    // The script takes the token from the fragment once, and keeps it for the tab: each screen is a tab of its own here.
    for (screen, words) in screens {
        let url = format!("{origin}/?screen={screen}#token={token}");
        let shown = browser(&place).args(["--dump-dom", &url]).output().unwrap();
        let html = String::from_utf8(shown.stdout).unwrap();
        for word in words {
            assert!(html.contains(word), "{screen}: no {word:?} in {html}");
        }
        assert!(!html.contains("taken over</title>") && !html.contains("<img"), "{screen}: {html}");
        assert!(!html.contains(token), "the token is not in the page: {html}");
        let Some(pictures) = std::env::var_os("WASMPOST_PICTURES") else { continue };
        for (size, window) in SIZES {
            let file = format!("{}-{size}.png", screen.replace('/', "-"));
            let picture = std::path::Path::new(&pictures).join(file);
            let mut taking = browser(&place);
            taking.arg(format!("--screenshot={}", picture.display())).arg(format!("--window-size={window}"));
            assert!(taking.arg(&url).stdout(Stdio::null()).status().unwrap().success());
        }
    }
}
