//! Delays: a message waits in queues with a time to live, hopping from longer to shorter ones until it is due.

use std::time::Duration;

/// How long messages wait in one hop. Few, because each is a queue beside each queue that uses it.
const TIERS: [Duration; 8] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(150),
    Duration::from_secs(15 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(6 * 60 * 60),
];

/// The hop for what is to wait so long: the longest that is not longer, or one that is longer by little.
pub(crate) fn tier(rest: Duration) -> Duration {
    let [shortest, ..] = TIERS;
    // A tenth too long is better than five hops more.
    let fits = |tier: &&Duration| **tier <= rest + rest / 10;
    TIERS.iter().rev().find(fits).copied().unwrap_or(shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(mut rest: Duration) -> (usize, Duration) {
        let mut hops = 0;
        let mut waited = Duration::ZERO;
        while !rest.is_zero() {
            let tier = tier(rest);
            hops += 1;
            waited += tier;
            rest = rest.saturating_sub(tier);
        }
        (hops, waited)
    }

    #[test]
    fn a_message_waits_at_least_as_long_as_it_shall_and_little_longer() {
        for millis in [1, 199, 200, 950, 1_000, 1_150, 4_800, 61_000, 299_000, 86_400_000] {
            let rest = Duration::from_millis(millis);
            let (hops, waited) = hops(rest);
            assert!(waited >= rest && waited <= rest + rest / 10 + Duration::from_millis(200), "{rest:?}: {waited:?}");
            assert!(hops <= 16, "{rest:?} in {hops} hops");
        }
    }
}
