//! The flight file: the notes that are found in it, and files that are refused.

use super::*;

const RUN: u64 = 7;
const HERE: Option<[u8; 16]> = Some([1; 16]);

fn a_note(message: i64) -> Note {
    Note { queue: 3, message, mark: u64::MAX, deliveries: 2, since: Timestamp(9) }
}

/// A file with a delivery in flight and one that was acknowledged.
fn bytes() -> Vec<u8> {
    let places = [(1, Phase::InFlight), (2, Phase::Acked)];
    let places = places.map(|(message, phase)| place_bytes(RUN, &a_note(message), phase));
    [header(RUN, [1; 16]), places[0], places[1], [0; PLACE_BYTES]].concat()
}

#[test]
fn what_was_noted_is_found_and_nothing_else() {
    let found = found(&bytes(), RUN, HERE);
    assert_eq!(found.notes, [(a_note(1), Phase::InFlight), (a_note(2), Phase::Acked)]);
    assert_eq!(found.fault, None);
}

#[test]
fn a_file_that_is_not_of_the_last_run_is_told_and_not_used() {
    let told = |bytes: &[u8], run, boot| {
        let found = found(bytes, run, boot);
        assert!(found.notes.is_empty(), "{found:?}");
        found.fault.unwrap_or_default()
    };
    assert!(told(&bytes(), RUN + 1, HERE).contains("older"));
    assert!(told(&bytes(), RUN, Some([2; 16])).contains("started again"));
    assert!(told(&bytes()[..40], RUN, HERE).contains("cut off"));
    assert!(told("dear diary, ".repeat(20).as_bytes(), RUN, HERE).contains("not a flight file"));
    for place in 8..PLACE_BYTES {
        let mut damaged = bytes();
        damaged[place] ^= 1;
        told(&damaged, RUN, HERE);
    }
}

#[test]
fn a_place_that_is_damaged_is_told_and_the_others_are_found() {
    for byte in PLACE_BYTES..2 * PLACE_BYTES {
        let mut damaged = bytes();
        damaged[byte] ^= 1;
        let found = found(&damaged, RUN, HERE);
        assert_eq!(found.notes, [(a_note(2), Phase::Acked)], "byte {byte}");
        // A place with the number of another run is taken for a place of that run.
        assert!(found.fault.is_some_and(|fault| fault.contains("1 damaged")) || byte < PLACE_BYTES + 8);
    }
}

#[test]
fn places_are_used_again_and_no_more_are_made_than_may_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flight");
    let flight = Flight::create(&path, RUN).unwrap();
    let places: Vec<u32> = (0..PLACES_ADDED + 1).map(|_| flight.begin(&a_note(1)).unwrap()).collect();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), offset(2 * PLACES_ADDED));
    places.iter().for_each(|place| flight.free(*place));
    for _ in 0..PLACES_MAX {
        flight.begin(&a_note(2)).unwrap();
    }
    assert!(flight.begin(&a_note(3)).is_err());
    drop(flight);
    // The next run begins with a new file.
    let next = Flight::create(&path, RUN + 1).unwrap();
    next.begin(&a_note(4)).unwrap();
    assert_eq!(read(&path, RUN + 1).notes, [(a_note(4), Phase::InFlight)]);
}

#[test]
fn what_lies_in_its_place_is_not_read_and_makes_way_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let [fifo, link, name, of_others] = ["fifo", "link", "name", "of others"].map(|name| directory.path().join(name));
    std::fs::write(&of_others, "precious").unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::os::unix::fs::symlink(&of_others, &link).unwrap();
    std::fs::hard_link(&of_others, &name).unwrap();
    for path in [&fifo, &link, &name] {
        assert!(read(path, RUN).fault.is_some(), "{path:?}");
        let flight = Flight::create(path, RUN).unwrap();
        flight.begin(&a_note(1)).unwrap();
        assert_eq!(read(path, RUN).notes, [(a_note(1), Phase::InFlight)], "{path:?}");
    }
    assert_eq!(std::fs::read_to_string(&of_others).unwrap(), "precious");
    let occupied = directory.path().join("directory");
    std::fs::create_dir(&occupied).unwrap();
    assert!(Flight::create(&occupied, RUN).is_err() && read(&occupied, RUN).fault.is_some());
}
