//! Events as the specification and its binding for HTTP write them.

use http::{HeaderName, StatusCode};

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

/// The events of a request, by its own headers.
fn taken(pairs: &[(&'static str, &str)], body: &str) -> Result<Vec<Event>, Problem> {
    let headers = headers(pairs);
    let content_type = headers.get("content-type").map_or("", |value| value.to_str().unwrap());
    let form = form(&headers, &media_type(content_type))?;
    events(form, &headers, body.to_owned().into())
}

fn in_json(body: &str) -> Result<Event, Problem> {
    taken(&[("content-type", "application/cloudevents+json; charset=UTF-8")], body).map(|mut events| events.remove(0))
}

fn shown(event: &Event) -> (Vec<(&str, &str)>, &str) {
    let attributes = event.attributes.iter_spelled().map(|(name, values)| (name, values[0].as_str()));
    (attributes.collect(), std::str::from_utf8(&event.body).unwrap())
}

/// The example of section 3.1.4 of the binding for HTTP.
#[test]
fn an_event_in_headers_and_body_is_taken() {
    let events = taken(
        &[
            ("ce-specversion", "1.0"),
            ("ce-type", "com.example.someevent"),
            ("ce-time", "2018-04-05T03:56:24Z"),
            ("ce-id", "1234-1234-1234"),
            ("ce-source", "/mycontext/subcontext"),
            ("content-type", "application/json; charset=utf-8"),
        ],
        "{}",
    );
    let events = events.unwrap();
    let expected = [
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.someevent"),
        ("ce-time", "2018-04-05T03:56:24Z"),
        ("ce-id", "1234-1234-1234"),
        ("ce-source", "/mycontext/subcontext"),
        ("Content-Type", "application/json; charset=utf-8"),
    ];
    assert_eq!(shown(&events[0]), (expected.to_vec(), "{}"));
    assert_eq!(events[0].id, "/mycontext/subcontext#1234-1234-1234");
}

/// The example of section 2.3 of the format in JSON, with an extension of each type.
#[test]
fn an_event_in_json_becomes_the_same_message_as_one_in_headers() {
    let body = r#"{
        "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "subject": null,
        "id" : "C234-1234-1234", "time" : "2018-04-05T17:31:00Z", "comexampleextension1" : "value",
        "comexampleothervalue" : 5, "isnew": true, "datacontenttype" : "application/json",
        "data" : { "appinfoA" : "abc", "appinfoB" : 1.20, "appinfoC" : 123456789012345678901234567890 }
    }"#;
    let event = in_json(body).unwrap();
    let (attributes, data) = shown(&event);
    assert_eq!(data, r#"{ "appinfoA" : "abc", "appinfoB" : 1.20, "appinfoC" : 123456789012345678901234567890 }"#);
    let expected = [
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.someevent"),
        ("ce-source", "/mycontext"),
        ("ce-id", "C234-1234-1234"),
        ("ce-time", "2018-04-05T17:31:00Z"),
        ("ce-comexampleextension1", "value"),
        ("ce-comexampleothervalue", "5"),
        ("ce-isnew", "true"),
        ("Content-Type", "application/json"),
    ];
    assert_eq!(attributes, expected);
}

#[test]
fn data_is_text_base64_json_or_nothing() {
    let event =
        |more: &str| in_json(&format!(r#"{{"specversion":"1.0","type":"t","source":"s","id":"1"{more}}}"#)).unwrap();
    let data = |more: &str| (event(more).body, event(more).attributes.get("Content-Type").map(str::to_owned));
    let json = Some("application/json".to_owned());
    assert_eq!(data(""), ("".into(), None));
    assert_eq!(data(r#","data":null"#), ("null".into(), json.clone()));
    assert_eq!(data(r#","data":"<much wow=\"xml\"/>""#), (r#""<much wow=\"xml\"/>""#.into(), json));
    let xml = Some("text/xml".to_owned());
    assert_eq!(
        data(r#","datacontenttype":"text/xml","data":"<much wow=\"xml\"/>""#),
        (r#"<much wow="xml"/>"#.into(), xml)
    );
    assert_eq!(data(r#","data_base64":"AAEC""#), (Bytes::from_static(&[0, 1, 2]), None));
}

#[test]
fn headers_are_decoded_as_the_binding_says() {
    for (value, text) in [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("\"a \\\"quoted\\\" %22one%22\"", "a \"quoted\" \"one\""),
        ("100%", "100%"),
        ("\"", "\""),
    ] {
        assert_eq!(decoded(value).as_deref(), Some(text), "{value}");
    }
    assert_eq!(decoded("%ff"), None);
}

#[test]
fn a_batch_is_taken_as_a_whole_or_not_at_all() {
    let batch = |body: &str| taken(&[("content-type", "application/cloudevents-batch+json")], body);
    let event = |id: u32| format!(r#"{{"specversion":"1.0","type":"t","source":"s","id":"{id}","data":{id}}}"#);
    let all = batch(&format!("[{}, {}]", event(1), event(2))).unwrap();
    assert_eq!(
        all.iter().map(|event| (&*event.id, &*event.body)).collect::<Vec<_>>(),
        [("s#1", &b"1"[..]), ("s#2", b"2")]
    );
    assert_eq!(batch(" [ ] "), Ok(vec![]));
    let problem = batch(&format!(r#"[{},{{"id":"2"}}]"#, event(1))).unwrap_err();
    assert!(format!("{problem:?}").contains("event 1 of the batch: specversion is missing"), "{problem:?}");
    let many: Vec<String> = (0..=EVENTS_MAX as u32).map(event).collect();
    assert_eq!(batch(&format!("[{}]", many.join(","))).unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn what_is_no_event_is_refused() {
    let good = r#""specversion":"1.0","type":"t","source":"s","id":"1""#;
    for body in [
        "",
        "[]",
        "{}",
        "\u{feff}{}",
        r#"{"specversion":"0.3","type":"t","source":"s","id":"1"}"#,
        r#"{"specversion":"1.0","type":"","source":"s","id":"1"}"#,
        r#"{"specversion":"1.0","type":"t","source":"s"}"#,
        &format!(r#"{{{good},"id":"2"}}"#),
        &format!(r#"{{{good},"Upper":"x"}}"#),
        &format!(r#"{{{good},"list":[]}}"#),
        &format!(r#"{{{good},"number":1.5}}"#),
        &format!(r#"{{{good},"data":1,"data_base64":""}}"#),
        &format!(r#"{{{good},"data_base64":"?"}}"#),
        &format!(r#"{{{good}}} "#).repeat(2),
    ] {
        assert_eq!(in_json(body).unwrap_err().status, StatusCode::BAD_REQUEST, "{body}");
    }
    let many: String = (0..ATTRIBUTES_MAX).map(|number| format!(r#","a{number}":1"#)).collect();
    assert!(in_json(&format!("{{{good}{many}}}")).is_err());
    let twice = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-id", "2"), ("ce-source", "s"), ("ce-type", "t")];
    assert_eq!(taken(&twice, "").unwrap_err().status, StatusCode::BAD_REQUEST);
    let avro = [("content-type", "application/cloudevents+avro")];
    assert_eq!(taken(&avro, "").unwrap_err().status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(taken(&[("content-type", "text/plain")], "x"), Ok(vec![]));
}

#[test]
fn a_long_id_is_told_by_its_hash() {
    let long = message_id(&"s".repeat(300), &"i".repeat(300));
    assert_eq!(long.len(), "cloudevent-".len() + 64);
    assert_ne!(long, message_id(&"s".repeat(301), &"i".repeat(299)));
}
