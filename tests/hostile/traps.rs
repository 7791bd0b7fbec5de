//! Guests that break the rules by which calls pass between them and the host.

use crate::arena::Arena;
use crate::guests::*;

#[test]
fn a14_traps_around_the_call_and_bad_pointers_are_traps_and_publish_nothing() {
    let guests = [
        A14_REALLOC,
        A14_REALLOC_OUTSIDE,
        A14_REALLOC_CROOKED,
        A14_POST_RETURN,
        A14_RESULT_OUTSIDE,
        A14_KEEPS_MESSAGE,
        A14_DESTRUCTOR,
        A14_START,
    ];
    let after = guests.into_iter().fold(Arena::new(), |arena, guest| arena.attacker(guest, "")).fight();
    for guest in guests {
        after.died(guest, "trap");
    }
}
