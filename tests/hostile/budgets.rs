//! Guests that want more time, memory, tables, stack or handles than they may have.

use crate::arena::Arena;
use crate::guests::*;

/// Little CPU time, so that the tests are quick; all the time in the world otherwise.
const LITTLE_CPU: &str = "limits = { cpu = \"200ms\" }";

#[test]
fn a01_an_endless_loop_and_one_of_cheap_host_calls_end_at_the_cpu_limit() {
    let after = Arena::new().attacker(A01_LOOP, LITTLE_CPU).attacker(A01_HOST_CALLS, LITTLE_CPU).fight();
    for guest in [A01_LOOP, A01_HOST_CALLS] {
        let letter = after.died(guest, "cpu-limit");
        assert!(letter["evidence"]["cpu_us"].as_u64().unwrap() >= 200_000, "{letter}");
    }
}

#[test]
fn a02_copying_memory_without_end_ends_at_the_cpu_limit() {
    Arena::new().attacker(A02_COPY, LITTLE_CPU).fight().died(A02_COPY, "cpu-limit");
}

#[test]
fn a03_growing_and_touching_memory_without_end_ends_at_the_memory_limit() {
    let limits = "limits = { memory = \"16MiB\" }";
    let after = Arena::new().attacker(A03_GROW, limits).attacker(A03_TOUCH, limits).fight();
    for guest in [A03_GROW, A03_TOUCH] {
        let letter = after.died(guest, "memory-limit");
        let peak = letter["evidence"]["memory_peak_bytes"].as_u64().unwrap();
        assert!((15 << 20..=16 << 20).contains(&peak), "{letter}");
    }
}

#[test]
fn a04_growing_a_table_without_end_and_a_wide_one_end_at_the_table_limit() {
    let after = Arena::new().attacker(A04_GROW, "").attacker(A04_WIDE, "").fight();
    for guest in [A04_GROW, A04_WIDE] {
        after.died(guest, "table-limit");
    }
}

#[test]
fn a05_endless_recursion_traps_with_and_without_host_calls_at_its_end() {
    let after = Arena::new().attacker(A05_RECURSION, "").attacker(A05_HOST_CALL, "").fight();
    for guest in [A05_RECURSION, A05_HOST_CALL] {
        let letter = after.died(guest, "trap");
        assert!(letter["evidence"]["error"].as_str().unwrap().contains("stack exhausted"), "{letter}");
    }
}

#[test]
fn a08_leaked_handles_of_the_host_and_of_the_clock_end_at_the_handle_limit() {
    let after = Arena::new().attacker(A08_WRITERS, "").attacker(A08_POLLABLES, "").fight();
    for guest in [A08_WRITERS, A08_POLLABLES] {
        after.died(guest, "handle-limit");
    }
}

#[test]
fn a08_sleeping_a_year_and_waiting_for_what_never_comes_time_out() {
    let limits = "limits = { wall = \"500ms\" }";
    let after = Arena::new().attacker(A08_SLEEP, limits).attacker(A08_NEVER, limits).fight();
    for guest in [A08_SLEEP, A08_NEVER] {
        after.died(guest, "timeout");
    }
}
