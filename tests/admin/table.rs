//! The table of routes and roles in SECURITY.md is what the gate answers.

use wasmpost::admin::rows;
use wasmpost::gate::{Action, Answer, Caller, Role, Thing, allowed};
use wasmpost_tests::root;

/// A cell: what the gate answers to this caller.
fn cell(caller: Option<&Caller>, action: Action) -> &'static str {
    let is_bound = caller.is_some_and(|caller| caller.tenant.is_some());
    match allowed(caller, action, Thing::Any) {
        Answer::Yes if is_bound && action.rule().0.is_some() => "its own",
        Answer::Yes => "yes",
        Answer::Unknown => "401",
        Answer::Forbidden => "403",
        Answer::Hidden => "404",
    }
}

/// The table as it has to be.
fn table() -> String {
    let caller = |role, tenant: Option<&str>| Caller { name: String::new(), role, tenant: tenant.map(str::to_owned) };
    let callers = [
        None,
        Some(caller(Role::Read, None)),
        Some(caller(Role::Operate, None)),
        Some(caller(Role::Admin, None)),
        Some(caller(Role::Admin, Some("acme"))),
    ];
    let mut table = String::from(
        "| request | action | no token | read | operate | admin | admin of a tenant |\n|---|---|---|---|---|---|---|\n",
    );
    for row in rows() {
        let cells = callers.iter().map(|caller| cell(caller.as_ref(), row.action)).collect::<Vec<_>>().join(" | ");
        let method = row.method.to_uppercase();
        table.push_str(&format!("| `{method} {}` | {} | {cells} |\n", row.path, row.action.as_str()));
    }
    table
}

#[test]
fn the_table_of_routes_and_roles_in_security_md_is_what_the_gate_answers() {
    let page = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let table = table();
    assert!(page.contains(&table), "SECURITY.md is to have this table:\n{table}");
}
