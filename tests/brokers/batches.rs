//! Receivers that get several messages in one call.

use wasmpost_tests::guest;

use crate::scene::Scene;

const MESSAGES: usize = 32;

pub(crate) async fn a_poison_message_in_a_batch_is_found_and_all_others_arrive_once(scene: &mut Scene) {
    let component = guest("batching");
    let config = format!(
        "[brokers]\ndefault = \"{}\"\n[[receivers]]\nqueue = \"work\"\ncomponent = {component:?}\npublish = [\"out\"]\n\
         batch = {MESSAGES}\nbatch_wait = \"2s\"\nretry = {{ attempts = 1 }}\n",
        scene.server.url()
    );
    scene.place.write("wasmpost.toml", config);
    let line = |number: usize| {
        let wish = if number == 17 { "trap" } else { "" };
        format!("{{\"attributes\":{{\"Do\":[\"{wish}\"],\"Text\":[\"{number}\"]}},\"body\":\"\"}}\n")
    };
    let lines: String = (0..MESSAGES).map(line).collect();
    scene.place.run_with(&["publish", "work", "--ndjson", "-"], &lines).exits(0);
    let log = scene.place.run(&["run", "--until-empty"]).exits(0).stderr();
    assert!(log.contains("batch failed; handed over again by halves"), "several came in one call: {log}");
    let letters = scene.place.run(&["dead-letters", "list", "--json"]).exits(0).json();
    let reasons: Vec<_> =
        letters.as_array().unwrap().iter().map(|letter| letter["evidence"]["reason"].clone()).collect();
    assert_eq!(reasons, ["trap"], "{log}");
    let mut arrived = scene.effects();
    arrived.sort_by_key(|body| body.parse::<usize>().ok());
    let expected: Vec<_> = (0..MESSAGES).filter(|number| *number != 17).map(|number| number.to_string()).collect();
    assert_eq!(arrived, expected, "{log}");
}
