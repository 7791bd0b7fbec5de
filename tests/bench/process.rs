//! The program itself: how soon it handles a message, and what it does while there is none.

use std::path::Path;
use std::time::Duration;

use wasmpost_tests::{Place, guest};

use crate::measure::{By, Plan, Variant, interleave};
use crate::report::Report;

/// Receivers of the host that has nothing to do.
const RECEIVERS: usize = 100;
/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(5);

pub(crate) fn run(report: &mut Report, plan: Plan) {
    let place = Place::default();
    let component = guest("noop");
    let run = ["run", "--queue", "bench", "--component", component.to_str().unwrap(), "--until-empty"];
    let ran = |arguments: &[&str]| {
        let began = std::time::Instant::now();
        place.run_with(arguments, "{}").exits(0);
        began.elapsed()
    };
    let publish = || ran(&["publish", "bench", "-"]);
    // The compiled component is in the cache from then on.
    publish();
    ran(&run);
    let cold = Variant::new("cold-start", "run --until-empty with one message, component in the cache", |messages| {
        let mut wall = Duration::ZERO;
        for _ in 0..messages {
            publish();
            wall += ran(&run);
        }
        crate::measure::Sample { wall, cpu: wall }
    });
    let help = Variant::new("cold-help", "--version of the same program", |messages| {
        let wall = (0..messages).map(|_| ran(&["--version"])).sum();
        crate::measure::Sample { wall, cpu: wall }
    });
    let rows = interleave(plan, vec![cold, help]);
    report.group("from the start of the process to its end", By::Wall, rows);
    idle(report);
}

fn idle(report: &mut Report) {
    let place = Place::default();
    let mut text = String::from("[brokers]\ndefault = \"sqlite:wasmpost.db\"\n");
    for number in 0..RECEIVERS {
        text.push_str(&format!("[[receivers]]\nqueue = \"q{number}\"\ncomponent = {:?}\n", guest("noop")));
    }
    place.write("wasmpost.toml", text);
    let mut host = place.start(&["run"]);
    (1..RECEIVERS).for_each(|_| drop(host.wait_for("receiving")));
    // Work that starting left behind is done by then.
    std::thread::sleep(Duration::from_secs(1));
    let before = used(host.child.id());
    std::thread::sleep(WATCHED);
    let after = used(host.child.id());
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
    let seconds = WATCHED.as_secs_f64();
    let percent = (after.0 - before.0).as_secs_f64() / seconds * 100.0;
    report.figure("idle-cpu", &format!("idle host with {RECEIVERS} receivers, CPU"), percent, "% of a core");
    report.figure(
        "idle-wakes",
        "the same, times that a thread woke",
        (after.1 - before.1) as f64 / seconds,
        "a second",
    );
}

/// CPU time of all threads of a process, and how often they waited.
fn used(process: u32) -> (Duration, u64) {
    let mut cpu = 0;
    let mut waits = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let thread = thread.unwrap().path();
        cpu += first_number(&read(&thread.join("schedstat")));
        let status = read(&thread.join("status"));
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        waits += first_number(line);
    }
    (Duration::from_nanos(cpu), waits)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn first_number(text: &str) -> u64 {
    let number = text.split(|letter: char| !letter.is_ascii_digit()).find(|digits| !digits.is_empty());
    number.unwrap().parse().unwrap()
}
