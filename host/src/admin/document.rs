//! The OpenAPI document, made from the rows of the routes and the schemas of what they take and give.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::routes::{Form, ROUTES, Route};
use super::scene::Scene;

pub(super) async fn document(State(_): State<Arc<Scene>>) -> Json<Value> {
    Json(made())
}

/// The document.
pub(super) fn made() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<Problem>().to_value();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let described = operation(route, &mut schemas, &problem);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.to_owned(), described);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "wasmpost", "version": env!("CARGO_PKG_VERSION"), "license": { "name": env!("CARGO_PKG_LICENSE") } },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator, problem: &Value) -> Value {
    let (role, _) = route.action.rule();
    let security = match role {
        Some(_) => json!([{ "token": [] }]),
        None => json!([]),
    };
    let content = match route.form {
        Form::Json(schema) => json!({ "application/json": { "schema": schema(schemas) } }),
        Form::Other(kind) => {
            let kind = kind.split(';').next().unwrap_or_default();
            json!({ kind: { "schema": { "type": "string" } } })
        }
    };
    let mut operation = json!({
        "summary": route.summary,
        "description": match role {
            Some(role) => format!("Takes the role `{}`: {}.", role.as_str(), route.action.as_str()),
            None => format!("Open to everybody: {}.", route.action.as_str()),
        },
        "operationId": name(route),
        "security": security,
        "parameters": parameters(route, schemas),
        "responses": {
            "2XX": { "description": route.summary, "content": content },
            "default": {
                "description": "An error",
                "content": { "application/problem+json": { "schema": problem } },
            },
        },
    });
    if let (Some(body), Some(operation)) = (route.body, operation.as_object_mut()) {
        let content = json!({ "application/json": { "schema": body(schemas) } });
        operation.insert("requestBody".into(), json!({ "required": true, "content": content }));
    }
    operation
}

/// A name for an operation, made of its method and its path.
fn name(route: &Route) -> String {
    let words = route.path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    [route.method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

fn parameters(route: &Route, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let names = route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let named =
        names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let mut parameters: Vec<_> = named.collect();
    let Some(query) = route.query else { return parameters };
    let reference = query(schemas).to_value();
    let defined = reference
        .get("$ref")
        .and_then(serde_json::Value::as_str)
        .and_then(|path| path.rsplit('/').next())
        .map(str::to_owned);
    let schema = defined.and_then(|name| schemas.definitions().get(&name).cloned()).unwrap_or(reference);
    for (name, property) in schema.get("properties").and_then(serde_json::Value::as_object).into_iter().flatten() {
        let description = property["description"].clone();
        parameters.push(json!({ "name": name, "in": "query", "description": description, "schema": property }));
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_the_document_with_all_that_it_refers_to() {
        let document = made();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method];
            assert!(operation["responses"]["2XX"].is_object(), "{} {}", route.method, route.path);
            let named = route.path.matches('{').count();
            let found = operation["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "path").count();
            assert_eq!(found, named, "{}", route.path);
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
        assert!(text.contains("wasmpost") && document["paths"]["/v1/queues"]["get"]["parameters"][0].is_object());
    }
}
