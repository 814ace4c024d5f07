//! Makes `proto/openapi.json` of the descriptors: what can be called by JSON, and by what bodies.

use std::collections::{BTreeMap, BTreeSet};

use cavs_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};
use serde_json::{Map, Value, json};

use crate::grpc::access::{Access, access};

const ABOUT: &str = "Each method is called by POST, with a body of JSON (or of protobuf, as application/proto) as the \
Connect protocol has it, and a token of AuthService.Login. The same methods are there as gRPC. docs/API.md says more. \
Numbers of 64 bits are written as strings. This file is made of proto/cavs/v1: `CAVS_RENEW=1 cargo nextest run \
--workspace -E 'test(openapi)'`.";

/// The description of all methods that people and integrators have.
fn describe() -> Value {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut schemas = Schemas::default();
    let (mut paths, mut tags) = (Map::new(), Vec::new());
    for service in pool.services().filter(|service| service.package_name() == "cavs.v1") {
        let methods: Vec<_> = service.methods().filter(|method| access(&path_of(method)).is_some()).collect();
        if methods.is_empty() {
            continue;
        }
        let about = comment(&service.parent_file(), service.path());
        let about = if about.is_empty() { about_file(&service) } else { about };
        tags.push(json!({ "name": service.name(), "description": about }));
        for method in methods {
            paths.insert(path_of(&method), json!({ "post": operation(&method, &mut schemas) }));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "CAVS", "version": "v1", "description": ABOUT },
        "servers": [{ "url": "https://localhost:7443", "description": "`api.listen` of the server's configuration" }],
        "security": [{ "token": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "`accessToken` of AuthService.Login" },
            },
            "parameters": {
                "site": {
                    "name": "cavs-site",
                    "in": "header",
                    "schema": { "type": "string" },
                    "description": "The site's id or name, percent-encoded where it is not ASCII. Who has a role in \
                                    one site only need not name it.",
                },
            },
            "responses": { "error": error_response() },
            "schemas": schemas.finish(),
        },
    })
}

fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn operation(method: &MethodDescriptor, schemas: &mut Schemas) -> Value {
    let streams = method.is_client_streaming() || method.is_server_streaming();
    let content_type = if streams { "application/connect+json" } else { "application/json" };
    let mut content =
        |kind: MessageDescriptor| json!({ content_type: { "schema": schemas.reference(kind) } });
    let service = method.parent_service();
    let mut description = comment(&service.parent_file(), method.path());
    if streams {
        let which = match (method.is_client_streaming(), method.is_server_streaming()) {
            (true, true) => "Request and answer are streams",
            (true, false) => "The request is a stream",
            _ => "The answer is a stream",
        };
        description = format!("{description}\n\n{which} of messages as the Connect protocol has them.");
    }
    let mut operation = json!({
        "operationId": format!("{}.{}", service.name(), method.name()),
        "tags": [service.name()],
        "description": description.trim(),
        "requestBody": { "required": true, "content": content(method.input()) },
        "responses": {
            "200": { "description": "Done.", "content": content(method.output()) },
            "default": { "$ref": "#/components/responses/error" },
        },
    });
    match access(&path_of(method)).unwrap() {
        Access::Public => operation["security"] = json!([]),
        Access::Anyone | Access::Operator => {}
        Access::Role(_) | Access::Active(_) | Access::ActiveEither(..) => {
            operation["parameters"] = json!([{ "$ref": "#/components/parameters/site" }]);
        }
    }
    operation
}

fn error_response() -> Value {
    let detail = json!({
        "type": "object",
        "properties": {
            "type": { "type": "string", "description": "google.rpc.ErrorInfo is there always." },
            "value": { "type": "string", "contentEncoding": "base64", "description": "The detail as protobuf." },
            "debug": { "type": "object", "description": "The detail as JSON: `reason` of ErrorInfo is stable." },
        },
    });
    let error = json!({
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": { "type": "string", "examples": ["not_found"] },
            "message": { "type": "string", "description": "For people." },
            "details": { "type": "array", "items": detail },
        },
    });
    json!({ "description": "Why it was not done.", "content": { "application/json": { "schema": error } } })
}

/// The schemas of messages and enums that are named.
#[derive(Default)]
struct Schemas {
    waiting: Vec<MessageDescriptor>,
    enums: BTreeMap<String, EnumDescriptor>,
}

impl Schemas {
    fn reference(&mut self, kind: MessageDescriptor) -> Value {
        match kind.full_name() {
            "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
            "google.protobuf.Duration" => json!({ "type": "string", "examples": ["1.5s"] }),
            "google.protobuf.FieldMask" => json!({
                "type": "string",
                "description": "Names of fields, with commas between them.",
                "examples": ["name,photoConsent"],
            }),
            name => {
                assert_eq!(kind.package_name(), "cavs.v1", "say what {name} is in JSON");
                let reference = json!({ "$ref": format!("#/components/schemas/{}", short(name)) });
                self.waiting.push(kind);
                reference
            }
        }
    }

    fn finish(mut self) -> Value {
        let (mut done, mut found) = (BTreeSet::new(), BTreeMap::new());
        while let Some(kind) = self.waiting.pop() {
            if done.insert(kind.full_name().to_owned()) {
                found.insert(short(kind.full_name()), self.message(&kind));
            }
        }
        for (name, kind) in &self.enums {
            found.insert(short(name), enumeration(kind));
        }
        json!(found)
    }

    fn message(&mut self, kind: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in kind.fields() {
            properties.insert(field.json_name().to_owned(), self.field(&field));
        }
        let mut about = comment(&kind.parent_file(), kind.path());
        for oneof in kind.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let names: Vec<_> = oneof.fields().map(|field| format!("`{}`", field.json_name())).collect();
            about = format!("{about}\n\nOne of {} is given.", names.join(", "));
        }
        json!({ "type": "object", "description": about.trim(), "properties": properties })
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = if field.is_map() {
            let value = field.kind().as_message().unwrap().map_entry_value_field();
            json!({ "type": "object", "additionalProperties": self.one(&value) })
        } else if field.cardinality() == Cardinality::Repeated {
            json!({ "type": "array", "items": self.one(field) })
        } else {
            self.one(field)
        };
        let about = comment(&field.parent_message().parent_file(), field.path());
        if !about.is_empty() {
            schema["description"] = about.into();
        }
        schema
    }

    fn one(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "format": "int64" }),
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64" }),
            Kind::Message(kind) => self.reference(kind),
            Kind::Enum(kind) => {
                let reference =
                    json!({ "$ref": format!("#/components/schemas/{}", short(kind.full_name())) });
                self.enums.insert(kind.full_name().to_owned(), kind);
                reference
            }
        }
    }
}

fn enumeration(kind: &EnumDescriptor) -> Value {
    let mut about = comment(&kind.parent_file(), kind.path());
    for value in kind.values() {
        let of_value = comment(&kind.parent_file(), value.path());
        if !of_value.is_empty() {
            about = format!("{about}\n- `{}`: {of_value}", value.name());
        }
    }
    let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
    json!({ "type": "string", "description": about.trim(), "enum": names })
}

/// A name without its package.
fn short(name: &str) -> String {
    name.trim_start_matches("cavs.v1.").to_owned()
}

/// What stands before something in its file, as one text.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.into_iter().flat_map(|info| &info.location).find(|location| location.path == path);
    joined(location.map_or("", |location| location.leading_comments()))
}

/// What stands before the file's package.
fn about_file(service: &ServiceDescriptor) -> String {
    const PACKAGE: [i32; 1] = [2];
    comment(&service.parent_file(), &PACKAGE)
}

fn joined(text: &str) -> String {
    let paragraphs: Vec<_> = text
        .split("\n\n")
        .map(|paragraph| paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned())
        .collect();
    paragraphs.join("\n\n").trim().to_owned()
}

#[test]
fn the_openapi_file_describes_the_protocol() {
    let made = describe();
    if std::env::var_os("CAVS_RENEW").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/openapi.json");
        std::fs::write(path, format!("{made:#}\n")).unwrap();
        return;
    }
    let kept: Value = serde_json::from_str(super::OPENAPI).unwrap();
    // Compared as values: the order of an object's keys is not of this test.
    for part in ["paths", "components", "tags", "info"] {
        assert!(kept[part] == made[part], "{part} of proto/openapi.json: renew it with CAVS_RENEW=1");
    }
}
