//! `/`: where everything is.

use axum::response::Html;

/// The routes that a person may want, and what each shows.
const LINKS: [(&str, &str); 3] = [
    (
        "/metrics",
        "figures of the node and its stages, for Prometheus",
    ),
    (
        "/readyz",
        "whether the node takes writes, and which stages have stopped",
    ),
    ("/healthz", "whether the process answers"),
];

pub(crate) async fn page() -> Html<String> {
    let line = |(path, what): &(&str, &str)| format!("<li><a href=\"{path}\">{path}</a>: {what}\n");
    let links: String = LINKS.iter().map(line).collect();
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Millstream</title>\n\
        <h1>Millstream</h1>\n<p>This is a node's HTTP side.\n<ul>\n{links}</ul>\n"
    ))
}
