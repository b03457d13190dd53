//! The syntax of `x-amz-grant-*`: `id="…", uri="…", emailAddress="…"`; the quotes may be missing.

use super::Naming;

/// The grantees of a header in order, or `None` if it cannot be read.
pub(super) fn parse(text: &str) -> Option<Vec<(Naming, &str)>> {
    let mut grantees = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = value(after.trim_start())?;
        grantees.push((naming(name.trim())?, value));
        rest = match after.trim_start() {
            "" => return Some(grantees),
            more => more.strip_prefix(',')?,
        };
    }
}

/// A value that is not empty, and what follows it. A comma within quotes belongs to the value.
fn value(text: &str) -> Option<(&str, &str)> {
    let (value, after) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => text.split_at_checked(text.find(',').unwrap_or(text.len()))?,
    };
    let value = value.trim();
    (!value.is_empty() && !value.contains('"')).then_some((value, after))
}

fn naming(name: &str) -> Option<Naming> {
    let named = [("id", Naming::Id), ("uri", Naming::Uri), ("emailAddress", Naming::Email)];
    named.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, naming)| *naming)
}
