//! Guests that break the rules by which calls pass between them and the host.

use crate::arena::Arena;
use crate::guests::*;

#[test]
fn a14_traps_around_the_call_and_bad_pointers_are_traps_and_publish_nothing() {
    let guests = [
        (A14_REALLOC, "unreachable"),
        (A14_REALLOC_OUTSIDE, "realloc return: beyond end of memory"),
        (A14_REALLOC_CROOKED, "realloc return: result not aligned"),
        (A14_POST_RETURN, "unreachable"),
        (A14_RESULT_OUTSIDE, "out of bounds of memory"),
        (A14_KEEPS_MESSAGE, "borrow handles still remain"),
        (A14_DESTRUCTOR, "unreachable"),
        (A14_START, "unreachable"),
    ];
    let after = guests.iter().fold(Arena::new(), |arena, (guest, _)| arena.attacker(*guest, "")).fight();
    for (guest, words) in guests {
        let letter = after.died(guest, "trap");
        assert!(letter["evidence"]["error"].as_str().unwrap().contains(words), "{}: {letter}", guest.name);
    }
}
