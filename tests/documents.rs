//! Pages that are made from the code stay true to it. `UPDATE_DOCS=1 cargo test --test documents` writes them anew.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests")]

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use cloudserver::s3::{
    operation::{Pattern, Scope},
    table::OPERATIONS,
};

/// Where a made part of the page begins and ends.
struct Marks(&'static str, &'static str);

const OPERATIONS_PART: Marks =
    Marks("<!-- operations: made from the table in src/s3/table.rs -->\n", "<!-- end of operations -->\n");
const S3_TESTS_PART: Marks =
    Marks("<!-- s3-tests: made from tests/compat/s3tests/*.tsv -->\n", "<!-- end of s3-tests -->\n");
const MINT_PART: Marks = Marks("<!-- mint: made from tests/compat/mint/ledger.tsv -->\n", "<!-- end of mint -->\n");

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

/// How many of ceph/s3-tests pass, and for which reasons how many do not.
fn s3_tests() -> String {
    format!("Portable tests: {}\nFurther tests: {}", s3_tests_of("ledger.tsv"), s3_tests_of("further.tsv"))
}

fn s3_tests_of(ledger: &str) -> String {
    let ledger = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/compat/s3tests").join(ledger);
    let ledger = fs::read_to_string(ledger).unwrap();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for line in ledger.lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t').skip(1);
        let reason = match columns.next() {
            Some("pass") => "pass",
            _ => columns.next().expect("what does not pass has a reason"),
        };
        *reasons.entry(reason).or_default() += 1;
    }
    let passed = reasons.remove("pass").unwrap_or_default();
    let failed: usize = reasons.values().sum();
    let mut text = format!("{passed} of {} pass.\n\n| Why others do not | Tests |\n|---|---|\n", passed + failed);
    for (reason, count) in reasons {
        writeln!(text, "| {} | {count} |", cell(reason)).unwrap();
    }
    text
}

/// The figures of minio/mint's suites, and each test that does not pass.
fn mint() -> String {
    let ledger = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/compat/mint/ledger.tsv");
    let ledger = fs::read_to_string(ledger).unwrap();
    let rows: Vec<Vec<&str>> = ledger.lines().map(|line| line.split('\t').collect()).collect();
    let mut text = String::from("| Suite | Tests | Pass |\n|---|---|---|\n");
    let mut open = String::new();
    for row in &rows {
        match row.as_slice() {
            ["suite", suite, ran, passed] => writeln!(text, "| {suite} | {ran} | {passed} |").unwrap(),
            ["open", suite, name, reason] => writeln!(open, "| {suite} | {} | {reason} |", cell(name)).unwrap(),
            other => assert!(other.first().is_none_or(|first| first.starts_with('#')), "{other:?}"),
        }
    }
    write!(text, "\n| Suite | Test that does not pass | Why |\n|---|---|---|\n{open}").unwrap();
    text
}

/// A text as a cell of a table shows it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*").replace('_', "\\_")
}

/// Compares a part of the page with what it is made from, or writes it anew.
fn check(Marks(begin, end): &Marks, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(begin).expect("the page has the opening mark");
    let (listed, after) = rest.split_once(end).expect("the page has the closing mark");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{begin}{made}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(listed, made, "run UPDATE_DOCS=1 cargo test --test documents");
}

#[test]
fn the_compatibility_page_is_what_the_table_and_the_ledgers_say() {
    check(&OPERATIONS_PART, &operations());
    check(&S3_TESTS_PART, &s3_tests());
    check(&MINT_PART, &mint());
}
