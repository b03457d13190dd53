//! As much of XML as the server's answers need here: names without attributes, text without entities.

/// What stands between `<name>` and `</name>`, for each such element in order. Elements of the same name do not nest.
pub(crate) fn all<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, tail)) = rest.split_once(&open) {
        let (inside, tail) = tail.split_once(&close).unwrap_or_else(|| panic!("{name} is not closed: {text}"));
        found.push(inside);
        rest = tail;
    }
    found
}

/// The first such element.
pub(crate) fn first<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, tail) = text.split_once(&format!("<{name}>"))?;
    Some(tail.split_once(&format!("</{name}>"))?.0)
}

/// The ETag of an element, without quotes.
pub(crate) fn etag(text: &str) -> String {
    unquoted(first(text, "ETag").unwrap_or_else(|| panic!("no ETag: {text}")))
}

/// Without the quotes, however they are written.
pub(crate) fn unquoted(text: &str) -> String {
    text.replace("&quot;", "").replace("&#34;", "").replace('"', "")
}

/// The elements of either name in the order of the document, with their names.
pub(crate) fn either<'a>(text: &'a str, names: [&'static str; 2]) -> Vec<(&'static str, &'a str)> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let next = names.iter().filter_map(|name| Some((rest.find(&format!("<{name}>"))?, *name))).min();
        let Some((start, name)) = next else { return found };
        let (inside, tail) = rest[start + name.len() + 2..].split_once(&format!("</{name}>")).unwrap();
        found.push((name, inside));
        rest = tail;
    }
}
