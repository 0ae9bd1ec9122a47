//! The OpenAPI document as a page for people: rendered here, without scripts and without anything from elsewhere.

mod html;
mod schemas;

use super::{Api, access, openapi};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use html::{escaped, items, marked, members, text};
use schemas::kind;
use serde_json::Value;
use std::fmt::Write;
use std::sync::LazyLock;
use utoipa_axum::router::OpenApiRouter;

/// Where it is.
pub(super) const PATH: &str = "/docs";
/// Part of the page, and named by its digest in the page's policy: no other style is applied.
const STYLE: &str = include_str!("page.css");
/// What the codes of refusals mean.
const STATUSES: &str = include_str!("../../../../docs/reference/http-status.md");

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let document = serde_json::from_str(openapi::document()).expect("we wrote it as JSON");
    Page::of(&document)
});
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(sectag_pki::sha256(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// From the root.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default().route(PATH, axum::routing::get(docs))
}

async fn docs() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE.as_str()).into_response()
}

/// One call, as it stands in the document.
struct Call<'a> {
    method: String,
    path: &'a str,
    operation: &'a Value,
}

impl Call<'_> {
    fn id(&self) -> &str {
        text(&self.operation["operationId"])
    }
}

struct Page<'a> {
    document: &'a Value,
    html: String,
}

impl<'a> Page<'a> {
    fn of(document: &'a Value) -> String {
        let mut page = Self {
            document,
            html: String::new(),
        };
        let calls = page.calls();
        page.add("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        page.add("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" href=\"data:,\">\n");
        page.add(&format!(
            "<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
            escaped(text(&document["info"]["title"]))
        ));
        page.contents(&calls);
        page.add("<main>\n");
        page.head();
        for tag in page.chapters(&calls) {
            page.chapter(tag, &calls);
        }
        page.shapes();
        page.refusals();
        page.add("</main>\n</body>\n</html>\n");
        page.html
    }

    /// In the order of the table of roles; those under the vendor's second prefix are mentioned in one sentence.
    fn calls(&self) -> Vec<Call<'a>> {
        let mut calls = Vec::new();
        for (path, item) in members(&self.document["paths"]) {
            if path.starts_with(openapi::SECOND_PREFIX) {
                continue;
            }
            for (method, operation) in members(item) {
                calls.push(Call {
                    method: method.to_uppercase(),
                    path,
                    operation,
                });
            }
        }
        let place = |call: &Call<'_>| {
            let is_row = |row: &access::Row| row.method == call.method && row.path == call.path;
            access::TABLE.iter().position(is_row)
        };
        calls.sort_by_key(place);
        calls
    }

    /// Beside the text where there is room; on a narrow screen the chapters only, and the calls at the head of each.
    fn contents(&mut self, calls: &[Call<'_>]) {
        self.add("<nav aria-label=\"Contents\">\n<ul>\n");
        for tag in self.chapters(calls) {
            let name = text(&tag["name"]);
            let _ = writeln!(
                self.html,
                "<li><a href=\"#{}\">{}</a>",
                escaped(name),
                escaped(&titled(name))
            );
            self.index(name, calls);
            self.add("</li>\n");
        }
        self.add("<li><a href=\"#shapes\">Shapes</a></li>\n<li><a href=\"#refusals\">Refusals and their codes</a></li>\n</ul>\n</nav>\n");
    }

    fn index(&mut self, chapter: &str, calls: &[Call<'_>]) {
        self.add("<ul class=\"index\">\n");
        for call in calls.iter().filter(|call| is_in(call, chapter)) {
            let _ = writeln!(
                self.html,
                "<li><a href=\"#{}\">{}</a></li>",
                escaped(call.id()),
                escaped(text(&call.operation["summary"]))
            );
        }
        self.add("</ul>\n");
    }

    /// Those with a call.
    fn chapters(&self, calls: &[Call<'_>]) -> Vec<&'a Value> {
        let has_calls = |tag: &&Value| {
            let name = text(&tag["name"]);
            calls.iter().any(|call| is_in(call, name))
        };
        items(&self.document["tags"])
            .iter()
            .filter(has_calls)
            .collect()
    }

    fn head(&mut self) {
        let info = &self.document["info"];
        let _ = writeln!(
            self.html,
            "<h1>{}</h1>\n<p class=\"quiet\">Version {}. The same as <a href=\"/v1/openapi.json\">OpenAPI {}</a>, for programs.</p>",
            escaped(text(&info["title"])),
            escaped(text(&info["version"])),
            escaped(text(&self.document["openapi"]))
        );
        self.prose(text(&info["description"]));
        self.add("<p>Calls below <code>/v1/claimed-devices</code> are there below <code>/v1/identities/claimed-devices</code> as well.</p>\n");
    }

    fn chapter(&mut self, tag: &Value, calls: &[Call<'_>]) {
        let name = text(&tag["name"]);
        let _ = writeln!(
            self.html,
            "<h2 id=\"{}\">{}</h2>",
            escaped(name),
            escaped(&titled(name))
        );
        self.prose(text(&tag["description"]));
        self.index(name, calls);
        for call in calls.iter().filter(|call| is_in(call, name)) {
            self.call(call);
        }
    }

    fn call(&mut self, call: &Call<'_>) {
        let _ = writeln!(
            self.html,
            "<section class=\"one\" id=\"{}\">\n<h3>{}</h3>\n<p class=\"call\"><code>{} {}</code></p>",
            escaped(call.id()),
            escaped(text(&call.operation["summary"])),
            call.method,
            escaped(call.path)
        );
        self.prose(text(&call.operation["description"]));
        let parameters = items(&call.operation["parameters"]);
        if !parameters.is_empty() {
            self.add("<h4>Parameters</h4>\n");
            let rows = parameters.iter().map(|parameter| {
                let place = text(&parameter["in"]);
                let about = text(&parameter["description"]);
                let kind = format!("{}, in the {place}", kind(&parameter["schema"]));
                (text(&parameter["name"]).to_owned(), kind, about.to_owned())
            });
            self.add(&html::table(rows.collect()));
        }
        let bodies = content(&call.operation["requestBody"]);
        if !bodies.is_empty() {
            let _ = writeln!(self.html, "<h4>Body</h4>\n<p>{bodies}</p>");
            self.prose(text(&call.operation["requestBody"]["description"]));
        }
        self.add("<h4>Answers</h4>\n<div class=\"wide\"><table class=\"answers\"><tbody>\n");
        let mut refused = Vec::new();
        for (status, response) in members(&call.operation["responses"]) {
            if response.get("$ref").is_some() {
                refused.push(status);
                continue;
            }
            let content = content(response);
            let _ = writeln!(
                self.html,
                "<tr><td>{}</td><td>{} {content}</td></tr>",
                escaped(status),
                marked(text(&response["description"]))
            );
        }
        self.add("</tbody></table></div>\n<p class=\"quiet\">Refused with ");
        let links: Vec<String> = refused
            .iter()
            .map(|status| format!("<a href=\"#status-{status}\">{status}</a>"))
            .collect();
        self.add(&links.join(", "));
        self.add(".</p>\n</section>\n");
    }

    fn shapes(&mut self) {
        self.add("<h2 id=\"shapes\">Shapes</h2>\n");
        for (name, schema) in members(&self.document["components"]["schemas"]) {
            let _ = writeln!(
                self.html,
                "<section class=\"one\" id=\"shape-{0}\">\n<h3>{0}</h3>",
                escaped(name)
            );
            self.prose(text(&schema["description"]));
            self.add(&schemas::shape(schema));
            self.add("</section>\n");
        }
    }

    /// The owner's half of docs/reference/http-status.md.
    fn refusals(&mut self) {
        self.add("<h2 id=\"refusals\">Refusals and their codes</h2>\n<p>Nothing is changed by a call that was refused.</p>\n");
        self.add("<div class=\"wide\"><table>\n<thead><tr><th>Code</th><th>When</th><th>What to do</th></tr></thead>\n<tbody>\n");
        let mut before = "";
        for [status, codes, when, what] in refusal_rows() {
            if status != before {
                let _ = write!(self.html, "<tr id=\"status-{status}\">");
            } else {
                self.add("<tr>");
            }
            before = status;
            let anchors: Vec<String> = codes
                .split(", ")
                .map(|code| format!("<span id=\"{0}\">{0}</span>", escaped(code)))
                .collect();
            let _ = writeln!(
                self.html,
                "<td>{}</td><td>{}</td><td>{}</td></tr>",
                anchors.join(", "),
                marked(when),
                marked(what)
            );
        }
        self.add("</tbody></table></div>\n");
    }

    fn prose(&mut self, words: &str) {
        self.add(&html::prose(words));
    }

    fn add(&mut self, html: &str) {
        self.html.push_str(html);
    }
}

/// What a body or an answer holds, with its type unless that is JSON.
fn content(of: &Value) -> String {
    let all: Vec<String> = members(&of["content"])
        .map(|(media, content)| {
            let kind = kind(&content["schema"]);
            match media {
                "application/json" => kind,
                other => format!("{kind} as <code>{}</code>", escaped(other)),
            }
        })
        .collect();
    all.join(", or ")
}

/// Status, codes, when, and what the caller should do: the rows with a code.
fn refusal_rows() -> impl Iterator<Item = [&'static str; 4]> {
    let owners = STATUSES.split("## Owner API").nth(1).unwrap_or_default();
    owners.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", status, codes, when, what, ""]
                if codes.starts_with(|first: char| first.is_ascii_digit()) =>
            {
                Some([*status, *codes, *when, *what])
            }
            _ => None,
        }
    })
}

fn titled(name: &str) -> String {
    let mut title = name.to_owned();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

fn is_in(call: &Call<'_>, tag: &str) -> bool {
    items(&call.operation["tags"])
        .iter()
        .any(|name| name == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_of_the_page_has_a_place_to_go_to() {
        let page = PAGE.as_str();
        for link in page.split("href=\"#").skip(1) {
            let id = link.split('"').next().unwrap_or_default();
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }

    #[test]
    fn nothing_on_the_page_comes_from_elsewhere() {
        let page = PAGE.as_str();
        for mark in ["<script", "src=", "http://", "https://", "url(", "@import"] {
            assert!(!page.contains(mark), "{mark}");
        }
    }
}
