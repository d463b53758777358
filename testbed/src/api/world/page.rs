//! Lists are given page by page: 20 items unless the client wants otherwise, 200 at most.

use serde_json::{Map, Value, json};

use super::{Reply, Request};

/// Items on a page when the client does not say.
const DEFAULT: usize = 20;

/// Items on a page at most.
const MOST: usize = 200;

/// The page that was asked for, with links to the others and how many items there are in all.
pub(super) fn page(request: &Request<'_>, key: &str, items: Vec<Value>) -> Reply {
    let asked = |name, default| request.query(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let per_page = asked("per_page", DEFAULT).clamp(1, MOST);
    let at = asked("page", 1).max(1);
    let total = items.len();
    let last = total.div_ceil(per_page).max(1);
    let mut pages = Map::new();
    let mut link = |name: &str, to: usize| {
        let query: String = request
            .query
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "page" | "per_page"))
            .map(|(name, value)| format!("&{name}={value}"))
            .collect();
        let url = format!("{}{}?page={to}&per_page={per_page}{query}", request.base, request.path);
        pages.insert(name.to_owned(), url.into());
    };
    if at > 1 {
        link("first", 1);
        link("prev", at - 1);
    }
    if at < last {
        link("next", at + 1);
        link("last", last);
    }
    let links = if pages.is_empty() { json!({}) } else { json!({ "pages": pages }) };
    let items: Vec<Value> = items.into_iter().skip(per_page.saturating_mul(at - 1)).take(per_page).collect();
    Reply::ok(json!({ key: items, "links": links, "meta": { "total": total } }))
}
