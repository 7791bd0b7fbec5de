//! Running a test under many schedules.

use std::future::poll_fn;
use std::task::Poll;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// How many schedules each test tries by default.
const SCHEDULES: usize = 300;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| text.parse().expect("a number"))
}

/// Tries a test under random schedules, and under those that let few threads overtake others.
pub(crate) fn scheduled(test: impl Fn() + Send + Sync + Clone + 'static) {
    let schedules = variable("WASMPOST_SEEDS").map_or(SCHEDULES, |schedules| schedules as usize);
    let seed = variable("WASMPOST_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("WASMPOST_SEED={seed}");
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    let random = RandomScheduler::new_from_seed(seed, schedules);
    Runner::new(random, config.clone()).run(test.clone());
    Runner::new(PctScheduler::new_from_seed(seed, 3, schedules), config).run(test);
}

/// Lets others go on once.
pub(crate) async fn let_run() {
    let mut is_over = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
