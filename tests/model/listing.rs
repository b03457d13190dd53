//! Listings of the reference: everything, sorted, filtered and folded.

use crate::{
    Listing,
    reference::{Reference, Version},
};

pub(crate) fn shown(reference: &Reference, what: &Listing) -> Vec<String> {
    let rows: Vec<(&str, String)> = match what.of {
        "objects" => {
            reference.keys.keys().filter(|key| reference.current(key).is_some()).map(|it| (&**it, it.clone())).collect()
        }
        "versions" => reference.keys.iter().flat_map(|(key, all)| lines(key, all)).collect(),
        _ => {
            let open = reference.uploads.iter().filter(|upload| upload.is_open());
            let mut rows: Vec<_> = open.map(|upload| (&*upload.key, upload.key.clone())).collect();
            rows.sort();
            rows
        }
    };
    let mut shown: Vec<String> = Vec::new();
    for (key, row) in rows {
        let Some(rest) = key.strip_prefix(&*what.prefix) else { continue };
        let folded = rest.split_once('/').filter(|_| what.delimited);
        let row = folded.map_or(row, |(head, _)| format!("<{}{head}/>", what.prefix));
        if folded.is_none() || shown.last() != Some(&row) {
            shown.push(row);
        }
    }
    shown
}

fn lines<'a>(key: &'a str, versions: &'a [Version]) -> impl Iterator<Item = (&'a str, String)> {
    versions.iter().enumerate().map(move |(place, version)| {
        let id = if version.null { "null".to_owned() } else { version.number.to_string() };
        let size = version.parts.as_ref().map_or("marker".to_owned(), |parts| parts.concat().len().to_string());
        (key, format!("{key} {id} {size}{}", if place == 0 { " latest" } else { "" }))
    })
}
