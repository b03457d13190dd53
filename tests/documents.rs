//! Pages that are made from the code stay true to it. `UPDATE_DOCS=1 cargo test --test documents` writes them anew.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::{fmt::Write as _, fs, path::PathBuf};

use cloudserver::s3::{
    operation::{Pattern, Scope},
    table::OPERATIONS,
};

const BEGIN: &str = "<!-- operations: made from the table in src/s3/table.rs -->\n";
const END: &str = "<!-- end of operations -->\n";

fn target(pattern: &Pattern) -> String {
    let path = match pattern.scope {
        Scope::Service => "/",
        Scope::Bucket => "/{bucket}",
        Scope::Object => "/{bucket}/{key}",
    };
    let mut text = format!("`{} {path}", pattern.method);
    for (index, name) in pattern.query.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name);
    }
    text.push('`');
    if !pattern.header.is_empty() {
        write!(text, " with `{}`", pattern.header).unwrap();
    }
    text
}

fn operations() -> String {
    let mut table = String::from("| Operation | Request | Name in metrics |\n|---|---|---|\n");
    for route in OPERATIONS {
        writeln!(table, "| {} | {} | `{}` |", route.name, target(&route.pattern), route.action).unwrap();
    }
    table
}

#[test]
fn the_compatibility_page_lists_the_operations_of_the_table() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the opening mark");
    let (listed, after) = rest.split_once(END).expect("the page has the closing mark");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", operations())).unwrap();
        return;
    }
    assert_eq!(listed, operations(), "run UPDATE_DOCS=1 cargo test --test documents");
}
