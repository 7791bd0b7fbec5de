//! Answers to callers of every role.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use wasmpost_delivery::{Broker, QueueSpec};

use super::scene::{Stage, receiver};
use crate::admin::rows;
use crate::gate::{Answer, Caller, Role, Thing, allowed};

fn stage() -> Stage {
    Stage::new(vec![
        receiver("orders", "orders", None),
        receiver("@acme/orders", "@acme/orders", Some("acme")),
        receiver("@beta/orders", "@beta/orders", Some("beta")),
    ])
}

#[tokio::test]
async fn every_route_answers_every_role_as_the_gate_says() {
    let stage = stage();
    let caller = |name: &str, role, tenant: Option<&str>| {
        Some(Caller { name: name.into(), role, tenant: tenant.map(str::to_owned) })
    };
    let callers = [
        ("", None),
        ("unknown", None),
        ("read", caller("read", Role::Read, None)),
        ("operate", caller("operate", Role::Operate, None)),
        ("admin", caller("admin", Role::Admin, None)),
        ("acme", caller("acme", Role::Admin, Some("acme"))),
    ];
    for row in rows() {
        let path = row.path.replace("{name}", "x").replace("{id}", "x");
        for (token, caller) in &callers {
            let (status, text) = stage.ask(&row.method.to_uppercase(), &path, token, None).await;
            let expected = allowed(caller.as_ref(), row.action, Thing::Any);
            let answered = match status {
                401 => Answer::Unknown,
                403 => Answer::Forbidden,
                _ => Answer::Yes,
            };
            assert_eq!(answered, expected, "{} {path} with token {token:?}: {status} {text}", row.method);
            assert!(status != 405 && status < 500, "{} {path} with token {token:?}: {status} {text}", row.method);
        }
    }
}

#[tokio::test]
async fn the_things_of_another_tenant_are_not_there() {
    let stage = stage();
    for queue in ["orders", "@acme/orders", "@beta/orders"] {
        stage.bury_in(queue, "secret").await;
    }
    let (_, all) = stage.get("/v1/queues", "read").await;
    assert_eq!(all["queues"].as_array().unwrap().len(), 3);
    let (_, own) = stage.get("/v1/queues", "acme").await;
    assert_eq!((own["queues"].as_array().unwrap().len(), &own["queues"][0]["queue"]), (1, &json!("@acme/orders")));
    let (_, letters) = stage.get("/v1/dead-letters", "acme").await;
    assert_eq!(
        (letters["letters"].as_array().unwrap().len(), &letters["letters"][0]["queue"]),
        (1, &json!("@acme/orders"))
    );
    let (_, beta) = stage.get("/v1/dead-letters?queue=@beta/orders", "read").await;
    let id = beta["letters"][0]["id"].as_str().unwrap();
    let paths = [
        format!("/v1/dead-letters/{id}"),
        format!("/v1/dead-letters/{id}/body"),
        format!("/page/dead-letters/{id}"),
        "/v1/dead-letters?queue=@beta/orders".into(),
        "/v1/dead-letters/count?queue=@beta/orders".into(),
        "/v1/queues/%40beta%2Forders".into(),
        "/v1/queues/orders".into(),
        "/v1/scale?queue=@beta/orders".into(),
        "/v1/receivers/%40beta%2Forders".into(),
        "/v1/receivers/%40beta%2Forders/logs".into(),
        "/page/queues/orders".into(),
    ];
    for path in paths {
        assert_eq!(stage.get(&path, "admin").await.0, 200, "{path}");
        let (status, problem) = stage.get(&path, "acme").await;
        assert_eq!(status, 404, "{path}: {problem}");
    }
    let selection = json!({ "queue": "@beta/orders", "confirm": "@beta/orders" });
    for path in ["/v1/dead-letters/redrive", "/v1/dead-letters/purge"] {
        assert_eq!(stage.post(path, "acme", selection.clone()).await.0, 404);
        assert_eq!(stage.post(path, "acme", json!({ "ids": [id] })).await.0, 400, "a tenant names its queue");
    }
    assert_eq!(stage.post("/v1/messages", "acme", json!({ "topic": "@beta/orders" })).await.0, 404);
    assert_eq!(stage.post("/v1/messages", "acme", json!({ "topic": "orders" })).await.0, 404);
    assert_eq!(stage.post("/v1/messages", "acme", json!({ "topic": "@acme/orders" })).await.0, 201);
    let (_, tenants) = stage.get("/v1/tenants", "acme").await;
    assert_eq!((tenants["tenants"].as_array().unwrap().len(), &tenants["tenants"][0]["tenant"]), (1, &json!("acme")));
    assert!(!stage.get("/page/overview", "acme").await.1.to_string().contains("beta"));
}

#[tokio::test]
async fn pages_of_dead_letters_leave_out_none_and_repeat_none() {
    let stage = stage();
    for number in 0..7 {
        stage.bury_in(["@acme/orders", "@acme/mails", "orders"][number % 3], &number.to_string()).await;
    }
    for (token, expected) in [("read", 7), ("acme", 5)] {
        let mut ids = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, page) = stage.get(&format!("/v1/dead-letters?max=2{cursor}"), token).await;
            assert_eq!(status, 200, "{page}");
            ids.extend(
                page["letters"].as_array().unwrap().iter().map(|letter| letter["id"].as_str().unwrap().to_owned()),
            );
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!((count, ids.len()), (expected, expected), "{token}");
    }
}

#[tokio::test]
async fn letters_are_put_back_and_deleted_by_tasks_that_the_audit_names() {
    let stage = stage();
    stage.bury_in("orders", "one").await;
    stage.bury_in("orders", "two").await;
    let (_, letters) = stage.get("/v1/dead-letters", "read").await;
    assert_eq!(stage.post("/v1/dead-letters/redrive", "operate", json!({})).await.0, 400, "never without a filter");
    let id = letters["letters"][0]["id"].clone();
    let (status, task) = stage.post("/v1/dead-letters/redrive", "operate", json!({ "ids": [id] })).await;
    assert_eq!(status, 202, "{task}");
    let task = stage.ended(&task, "read").await;
    assert_eq!((&task["state"], &task["count"], &task["by"]), (&json!("done"), &json!(1), &json!("operate")));
    let purge = "/v1/dead-letters/purge";
    assert_eq!(stage.post(purge, "admin", json!({ "queue": "orders" })).await.0, 400, "its name confirms it");
    assert_eq!(stage.post(purge, "operate", json!({ "queue": "orders", "confirm": "orders" })).await.0, 403);
    let (status, task) = stage.post(purge, "admin", json!({ "queue": "orders", "confirm": "orders" })).await;
    assert_eq!(status, 202, "{task}");
    assert_eq!(stage.ended(&task, "read").await["count"], 1);
    let stats = stage.broker.stats().await.unwrap();
    assert_eq!((stats[0].ready, stats[0].dead), (1, 0));
    let (_, audit) = stage.get("/v1/audit", "read").await;
    let words: Vec<_> =
        audit["entries"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(words, ["purge dead letters", "redrive dead letters"]);
}

#[tokio::test]
async fn a_body_is_shown_as_it_is_to_those_who_may() {
    let stage = stage();
    stage.bury_in("orders", "{\"é\":1}").await;
    let (_, letters) = stage.get("/v1/dead-letters", "read").await;
    assert!(!letters.to_string().contains("\\\"é\\\""), "a list has no bodies: {letters}");
    let path = format!("/v1/dead-letters/{}/body", letters["letters"][0]["id"].as_str().unwrap());
    assert_eq!(stage.get(&path, "read").await.0, 403);
    let (_, body) = stage.get(&path, "operate").await;
    assert_eq!(body, json!({ "bytes": 8, "is_cut": false, "body": "{\"é\":1}" }));
    assert_eq!(stage.ask("GET", &format!("{path}?form=raw"), "operate", None).await, (200, "{\"é\":1}".into()));
}

#[tokio::test]
async fn what_is_asked_for_is_bounded_and_wrong_requests_are_told_as_problems() {
    let stage = stage();
    let long = "x".repeat(9000);
    for (path, status) in [
        ("/v1/queues?max=201".to_owned(), 400),
        ("/v1/queues?max=x".into(), 400),
        ("/v1/queues?unknown=1".into(), 400),
        ("/v1/queues?cursor=!".into(), 400),
        (format!("/v1/queues?cursor={long}"), 400),
        (format!("/v1/queues/{}", "x".repeat(1025)), 400),
        ("/v1/dead-letters?reason=none".into(), 400),
        ("/v1/queues?broker=other".into(), 200),
        ("/v1/dead-letters?broker=other".into(), 404),
        ("/v1/tasks/none".into(), 404),
        ("/v2".into(), 404),
    ] {
        let (found, problem) = stage.get(&path, "read").await;
        assert_eq!(found, status, "{problem}");
        assert!(found == 200 || problem["status"] == status && problem["code"].is_string(), "{problem}");
    }
    let (status, problem) = stage.post("/v1/messages", "operate", json!({ "topic": "two words" })).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid")), "{problem}");
    let (status, _) =
        stage.post("/v1/messages", "operate", json!({ "topic": "a", "attributes": { "Wasmpost-X": ["1"] } })).await;
    assert_eq!(status, 400, "attributes of the host are refused");
    let (status, _) = stage.ask("POST", "/v1/messages", "operate", None).await;
    assert_eq!(status, 415);
}

#[tokio::test]
async fn another_site_can_change_nothing_and_every_answer_has_the_headers_of_the_page() {
    let stage = stage();
    let request = |method: &str, path: &str, site: Option<&str>| {
        let request = Request::builder().method(method).uri(path).header("authorization", "Bearer admin");
        let request = request.header("content-type", "application/json");
        let request = site.into_iter().fold(request, |request, site| request.header("sec-fetch-site", site));
        request.body(Body::from("{\"topic\":\"orders\"}")).unwrap()
    };
    for (site, status) in [(None, 201), (Some("same-origin"), 201), (Some("cross-site"), 403), (Some("same-site"), 403)]
    {
        let response = stage.send(request("POST", "/v1/messages", site)).await;
        assert_eq!(response.status().as_u16(), status, "{site:?}");
    }
    for (method, path) in [("GET", "/"), ("GET", "/v1/queues"), ("GET", "/none"), ("POST", "/v1/reload"), ("PUT", "/")]
    {
        let response = stage.send(request(method, path, None)).await;
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let policy = header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
    }
}

#[tokio::test]
async fn readiness_names_reasons_and_an_autoscaler_is_not_told_of_an_empty_queue_while_the_broker_is_away() {
    let stage = stage();
    let (status, ready) = stage.get("/readyz", "").await;
    assert_eq!(
        (status, &ready["status"], &ready["reasons"][0]["code"]),
        (200, &json!("degraded"), &json!("breaker-open"))
    );
    drop(stage.broker.queue(QueueSpec::new("orders")).await.unwrap());
    let away = self::stage();
    away.broker.close().await.unwrap();
    let (status, ready) = away.get("/readyz", "").await;
    assert_eq!((status, &ready["reasons"][0]["code"]), (503, &json!("broker-away")));
    assert_eq!(away.get("/v1/scale", "read").await.0, 503);
    assert_eq!(away.get("/livez", "").await.0, 200);
    let (status, queues) = away.get("/v1/queues", "read").await;
    assert_eq!((status, &queues["away"][0]["broker"]), (200, &json!("default")));
}
