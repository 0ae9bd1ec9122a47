//! The OpenAPI document: what the handlers declare, completed by what holds for all of them.
//!
//! A handler declares what is its own: path, summary, parameters of the query, body, the answer when all is well, and the
//! refusals that only it knows ([`Conflict`], [`Unknown`], [`Unprocessable`], [`TooMany`], [`NotOurs`]). The rest is derived here, so that nobody forgets it:
//!
//! | an operation | can also answer |
//! |---|---|
//! | any | 403 (`Host`, `Origin`), 500, 503 |
//! | that needs an API key | 401, 403 (role), 429 |
//! | with a parameter in its path | 404 |
//! | with parameters in its query | 400 |
//! | with a body | 400, 413, 422 |

use super::access::{self, Found};
use super::shapes::RoleName;
use super::{Api, Problem};
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use sectag_store::Role;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::response::{Response as Refusal, ResponseBuilder};
use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayItems, Components, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Contact, Content, InfoBuilder, License, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The prefix under which claimed devices are served a second time (spec/owner-api §2.1).
pub(super) const SECOND_PREFIX: &str = "/v1/identities/";
/// How the name of a generic list begins.
const PAGE_OF: &str = "Page_";
/// And how it ends here.
const PAGE: &str = "Page";
const UUID: &str = "uuid";
const API_KEY: &str = "apiKey";
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// The chapters of the document: name, and what they are about.
const TAGS: [(&str, &str); 9] = [
    ("devices", "Claimed devices: claim, list, change, unclaim."),
    ("commands", "What a device is to do, and what became of it."),
    (
        "rules",
        "What devices with a tag are to do, and what they would get.",
    ),
    ("renewal", "Certificates that end, and their successors."),
    (
        "registration",
        "Certificates of the operator's own CA (the vendor's other host).",
    ),
    ("broker", "Certificates that are to be trusted no longer."),
    ("people", "Teams, and API keys with their roles."),
    (
        "evidence",
        "Who did what: audit trail, events, webhooks, metrics.",
    ),
    ("service", "What runs, and whether it is alive."),
];

/// Refusals by status: name of the component, and when it comes. The codes are in docs/reference/http-status.md.
const REFUSALS: [(&str, &str, &str); 11] = [
    (
        "400",
        "BadRequest",
        "The body is no JSON (or CSV), or a query parameter has no such value.",
    ),
    (
        "401",
        "Unauthorized",
        "No API key, or one that is unknown, expired or revoked.",
    ),
    (
        "403",
        "Forbidden",
        "The role of the API key does not allow this, or `Host` or `Origin` is not a name of this service.",
    ),
    (
        "404",
        "NotFound",
        "No such thing, or none that this API key may know of.",
    ),
    (
        "409",
        "Conflict",
        "What is there already, or its state, does not allow this.",
    ),
    (
        "413",
        "TooLarge",
        "The body has more bytes than this call takes.",
    ),
    (
        "422",
        "Unprocessable",
        "JSON of another shape, or a value that cannot be accepted; `message` names the member.",
    ),
    (
        "429",
        "TooMany",
        "As many as there may be at the same time; try again later.",
    ),
    (
        "500",
        "Internal",
        "The service cannot use its database; its log says why.",
    ),
    (
        "501",
        "NotOurs",
        "A call of the vendor's cloud that this service does not have; `message` says what it has.",
    ),
    (
        "503",
        "Unavailable",
        "The service is busy, full, or shutting down; try again later.",
    ),
];

/// For `responses(…)` of a handler that can answer 409.
pub(super) struct Conflict;

/// For `responses(…)` of a handler that can answer 404 although its path has no parameter.
pub(super) struct Unknown;

/// For `responses(…)` of a handler that can answer 422 although it takes no body.
pub(super) struct Unprocessable;

/// For `responses(…)` of a handler that can answer 429.
pub(super) struct TooMany;

/// For `responses(…)` of a handler that can answer 501.
pub(super) struct NotOurs;

impl IntoResponses for Conflict {
    fn responses() -> BTreeMap<String, RefOr<Refusal>> {
        refusals(&["409"])
    }
}

impl IntoResponses for Unknown {
    fn responses() -> BTreeMap<String, RefOr<Refusal>> {
        refusals(&["404"])
    }
}

impl IntoResponses for Unprocessable {
    fn responses() -> BTreeMap<String, RefOr<Refusal>> {
        refusals(&["422"])
    }
}

impl IntoResponses for TooMany {
    fn responses() -> BTreeMap<String, RefOr<Refusal>> {
        refusals(&["429"])
    }
}

impl IntoResponses for NotOurs {
    fn responses() -> BTreeMap<String, RefOr<Refusal>> {
        refusals(&["501"])
    }
}

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let document = complete(super::routes().split_for_parts().1);
    let mut text = document
        .to_pretty_json()
        .expect("names of members are text");
    // The references to a page, wherever they are: see `name_items`.
    for schema in document
        .components
        .iter()
        .flat_map(|all| all.schemas.keys())
    {
        if let Some(item) = schema.strip_suffix(PAGE) {
            let derived = format!("\"#/components/schemas/{PAGE_OF}{item}\"");
            text = text.replace(&derived, &format!("\"#/components/schemas/{schema}\""));
        }
    }
    // As the registry of formats has them.
    text = text.replace("\"u-int", "\"uint");
    text.push('\n');
    text
});

/// The OpenAPI 3.1 document of the owner API, as it is in `spec/owner.openapi.json`.
pub fn document() -> &'static str {
    &TEXT
}

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(openapi))
}

/// This document
///
/// Public: it tells nothing about who or what is here.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)),
)]
async fn openapi() -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, document()).into_response()
}

/// The document without any path.
pub(super) fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Sectag: the owner's API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .contact(Some(
            Contact::builder()
                .name(Some("The Sectag developers"))
                .build(),
        ))
        .license(Some(
            License::builder()
                .name("MIT OR Apache-2.0")
                .identifier(Some("MIT OR Apache-2.0"))
                .build(),
        ))
        .build();
    let tags = TAGS.map(|(name, about)| {
        TagBuilder::new()
            .name(name)
            .description(Some(about))
            .build()
    });
    let mut components = Components::builder()
        .schema(Problem::name(), Problem::schema())
        .schema(RoleName::name(), RoleName::schema())
        .build();
    for (_, name, about) in REFUSALS {
        components
            .responses
            .insert(name.to_owned(), RefOr::T(refusal(about)));
    }
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An API key. The first one, with the role `owner`, is in `owner.key` in the service's home.",
        ))
        .build();
    components.add_security_scheme(API_KEY, SecurityScheme::Http(key));
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(tags))
        .components(Some(components))
        .security(Some([needs_key()]))
        .build()
}

const ABOUT: &str = "Claim devices, queue what they are to do, and see what became of it.\n\n\
    Calls below `/v1/` need an API key: `Authorization: Bearer <key>`. Bodies and answers are JSON; times are UTC with milliseconds. \
    Lists come in pages: send `pageNextToken` of one page to get the next.\n\n\
    A refusal is a problem (RFC 9457) with the members `code` and `message` besides, and has changed nothing.";

/// What all operations have in common.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete_operation(&method, path, operation);
        }
    }
    if let Some(components) = &mut document.components {
        let schemas = std::mem::take(&mut components.schemas);
        components.schemas = schemas.into_iter().map(name_items).collect();
    }
    document
}

/// A page of a list names what it holds: derived, it would hold the schema itself, and be called `Page_Device`.
fn name_items((name, mut schema): (String, RefOr<Schema>)) -> (String, RefOr<Schema>) {
    let Some(item) = name.strip_prefix(PAGE_OF) else {
        return (name, schema);
    };
    if let RefOr::T(Schema::Object(page)) = &mut schema
        && let Some(RefOr::T(Schema::Array(items))) = page.properties.get_mut("items")
    {
        items.items = ArrayItems::RefOrSchema(Box::new(RefOr::Ref(Ref::from_schema_name(item))));
    }
    (format!("{item}{PAGE}"), schema)
}

/// The operations of a path, each with its method.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.map(|operation| (method, operation)))
}

fn complete_operation(method: &Method, path: &str, operation: &mut Operation) {
    let role = match access::of(method, path) {
        Found::Row(row) => row.role,
        // Refused when it is called.
        Found::OtherMethod | Found::Unknown => Some(Role::Owner),
    };
    match role {
        None => operation.security = Some(Vec::new()),
        Some(role) => {
            let needs = format!("Needs the role `{}`.", role.as_str());
            let description = operation.description.get_or_insert_default();
            if !description.is_empty() {
                description.push_str("\n\n");
            }
            description.push_str(&needs);
        }
    }
    name(path, operation);
    add_path_parameters(path, operation);
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            widen_flag(parameter);
        }
    }
    let has = |place: ParameterIn| {
        let declared = operation.parameters.iter().flatten();
        declared
            .filter_map(|parameter| match parameter {
                RefOr::T(parameter) => Some(parameter),
                RefOr::Ref(_) => None,
            })
            .any(|parameter| parameter.parameter_in == place)
    };
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        // One that a handler describes itself has the type of all others.
        if status.starts_with(['4', '5']) {
            *response = refusal(&response.description);
        }
    }
    let mut statuses = vec!["403", "500", "503"];
    if role.is_some() {
        statuses.extend(["401", "429"]);
    }
    if has(ParameterIn::Path) {
        statuses.push("404");
    }
    if has(ParameterIn::Query) {
        statuses.push("400");
    }
    if operation.request_body.is_some() {
        statuses.extend(["400", "413", "422"]);
    }
    for (status, refusal) in refusals(&statuses) {
        operation
            .responses
            .responses
            .entry(status)
            .or_insert(refusal);
    }
}

/// `list_devices` becomes `listDevices`; under the second prefix an operation gets a name of its own.
fn name(path: &str, operation: &mut Operation) {
    let Some(id) = &operation.operation_id else {
        return;
    };
    let mut camel = String::with_capacity(id.len());
    for (at, word) in id.split('_').enumerate() {
        let mut chars = word.chars();
        match chars.next() {
            Some(first) if at > 0 => camel.push(first.to_ascii_uppercase()),
            Some(first) => camel.push(first),
            None => {}
        }
        camel.push_str(chars.as_str());
    }
    if let Some(rest) = path.strip_prefix(SECOND_PREFIX) {
        camel.push_str("UnderIdentities");
        operation.summary = Some(format!("As `/v1/{rest}`"));
    }
    operation.operation_id = Some(camel);
}

/// A flag of the query may be there without a value, or be a digit: see `Query::flag`.
fn widen_flag(parameter: &mut Parameter) {
    let is_flag = matches!(&parameter.schema, Some(RefOr::T(Schema::Object(object)))
        if object.schema_type == SchemaType::Type(Type::Boolean));
    if !is_flag || parameter.parameter_in != ParameterIn::Query {
        return;
    }
    let words = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^([Tt]rue|TRUE|[Ff]alse|FALSE|[01])?$"));
    let flag = AnyOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::Boolean))
        .item(words);
    parameter.schema = Some(flag.into());
}

/// Those in braces that the handler does not declare itself.
fn add_path_parameters(path: &str, operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_default();
    let mut before = "";
    for segment in path.split('/') {
        let name = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = name {
            let is_there = parameters
                .iter()
                .any(|known| matches!(known, RefOr::T(known) if known.name == name));
            if !is_there {
                parameters.push(RefOr::T(path_parameter(before, name)));
            }
        }
        before = segment;
    }
    if parameters.is_empty() {
        operation.parameters = None;
    }
}

fn path_parameter(before: &str, name: &str) -> Parameter {
    let (about, format) = match (before, name) {
        ("claimed-devices", "id") => ("UUID of the device.", Some(UUID)),
        (_, "command") => ("Id of the command.", Some(UUID)),
        ("keys", _) => ("Name of the API key.", None),
        ("allow-list" | "devices", _) => ("UUID of the device.", Some(UUID)),
        _ => ("Its id.", None),
    };
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(format.map(|name: &str| SchemaFormat::Custom(name.to_owned())));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(about))
        .schema(Some(schema))
        .build()
}

fn needs_key() -> SecurityRequirement {
    SecurityRequirement::new::<_, [&str; 0], _>(API_KEY, [])
}

fn refusals(statuses: &[&str]) -> BTreeMap<String, RefOr<Refusal>> {
    REFUSALS
        .iter()
        .filter(|(status, ..)| statuses.contains(status))
        .map(|(status, name, _)| {
            let named = RefOr::Ref(Ref::from_response_name(*name));
            ((*status).to_owned(), named)
        })
        .collect()
}

fn refusal(about: &str) -> Refusal {
    let schema = Ref::from_schema_name(Problem::name());
    ResponseBuilder::new()
        .description(about)
        .content(PROBLEM_JSON, Content::new(Some(schema)))
        .build()
}
