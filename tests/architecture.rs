//! The rules of the code's structure, checked on its text: layers, budgets, and what nothing in `src/` does.
//!
//! There is no list of exceptions. What a rule here forbids is to be written differently.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a check that cannot read the sources has failed"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The layers, highest first. A module imports only from rows below its own: never upwards, never from a neighbour.
const ROWS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["server", "fuzzing", "migrate"],
    &["http", "admin", "modules"],
    &["s3"],
    &["logging", "inventory", "jobs"],
    &["storage"],
    &["auth", "location", "kms"],
    &["metadata", "data"],
    &["s3client", "lease"],
    &["config", "telemetry", "tasks", "clock", "outbound"],
    &["types", "xml"],
];

/// Lines of a file outside data tables, its tests included.
const FILE_LINES: usize = 600;
/// Lines of a function, from its `fn` to its last brace.
const FUNCTION_LINES: usize = 80;
/// Lines of `main.rs`.
const MAIN_LINES: usize = 60;

/// A file of `src/`.
struct Source {
    /// Its path below `src/`.
    path: String,
    /// Its text without comments, and without what stands in quotes. Lines stay where they are.
    code: String,
    /// The same without tests.
    production: String,
}

impl Source {
    fn read(root: &Path, file: &Path) -> Self {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        let code = blank(&fs::read_to_string(file).unwrap());
        let production = if is_test_file(&path) { String::new() } else { without_tests(&code) };
        Self { path, code, production }
    }

    /// The top-level module that the file belongs to; `lib` for the crate's root.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// How many modules deep the file stands: `super` as often leads to the crate's root.
    fn depth(&self) -> usize {
        let folders = self.path.matches('/').count();
        if self.path.ends_with("/mod.rs") { folders } else { folders + 1 }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 100, "only {} files in {}", files.len(), root.display());
    files.iter().map(|file| Source::read(&root, file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Whole files of tests are declared behind `#[cfg(test)]` and named so.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.contains("/conformance")
        || path.contains("/fuzzing")
        || path.ends_with("/faulty.rs")
}

/// Replaces comments and the insides of strings and characters by blanks.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let Some(end) = token(&chars, at) else {
            out.push(chars[at]);
            at += 1;
            continue;
        };
        out.extend(chars[at..end].iter().map(|char| if *char == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Where the comment, string or character that starts at `at` ends; `None` if none does.
fn token(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => Some(at + rest.iter().position(|char| *char == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(at + 2 + find(&rest[2..], &['*', '/'])? + 2),
        ['"', ..] => Some(at + quoted(rest)),
        ['r', '"' | '#', ..] if at == 0 || !is_word(chars[at - 1]) => raw(rest).map(|length| at + length),
        ['b' | 'c', 'r', '"' | '#', ..] if at == 0 || !is_word(chars[at - 1]) => {
            raw(&rest[1..]).map(|length| at + 1 + length)
        }
        ['\'', '\\', ..] => Some(at + 3 + rest[3..].iter().position(|char| *char == '\'')? + 1),
        ['\'', _, '\'', ..] => Some(at + 3),
        _ => None,
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn find(chars: &[char], wanted: &[char]) -> Option<usize> {
    chars.windows(wanted.len()).position(|window| window == wanted)
}

/// Length of the string literal that `chars` begin with.
fn quoted(chars: &[char]) -> usize {
    let mut at = 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// Length of the raw string literal that `chars` begin with; `None` if it is a raw identifier.
fn raw(chars: &[char]) -> Option<usize> {
    let hashes = chars[1..].iter().take_while(|char| **char == '#').count();
    if chars.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let mut end = vec!['"'];
    end.extend(std::iter::repeat_n('#', hashes));
    let body = 2 + hashes;
    Some(body + find(&chars[body..], &end)? + end.len())
}

/// The index behind the bracket that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, char) in code[open..].char_indices() {
        match char {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => {
                depth -= 1;
                if depth == 0 {
                    return open + at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Cuts everything that stands behind `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    for marker in ["#[cfg(test)]", "#[cfg(any(test, feature = "] {
        while let Some(start) = out.find(marker) {
            let item = closing(&out, start + 1);
            let end = match out[item..].find(['{', ';']).map(|at| item + at) {
                Some(at) if out.as_bytes()[at] == b'{' => closing(&out, at),
                Some(at) => at + 1,
                None => out.len(),
            };
            let blanks: String = out[start..end].chars().map(|char| if char == '\n' { '\n' } else { ' ' }).collect();
            out.replace_range(start..end, &blanks);
        }
    }
    out
}

/// Cuts arrays in statics and constants: a table of data may be as long as the data.
fn without_tables(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut table = false;
    for line in code.lines() {
        let head = line.trim_start();
        let head = head.strip_prefix("pub(super) ").or_else(|| head.strip_prefix("pub ")).unwrap_or(head);
        let declares = head.starts_with("static ") || head.starts_with("const ");
        if !table {
            out.push_str(line);
            out.push('\n');
        }
        if declares && (line.ends_with("= &[") || line.ends_with("= [")) || line.ends_with("s3_codes! {") {
            table = true;
        } else if line == "];" || line == "}" {
            table = false;
        }
    }
    out
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Lines with anything on them.
fn lines_of_code(code: &str) -> usize {
    code.lines().filter(|line| !line.trim().is_empty()).count()
}

/// First segments of all paths that start with `root::`, with their places: `crate::a` and `crate::{a, b::c}`.
fn first_segments<'a>(code: &'a str, root: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        if code[..at].ends_with(|char| is_word(char) || char == ':') {
            continue;
        }
        let start = at + root.len();
        if code[start..].starts_with('{') {
            let end = closing(code, start);
            let mut depth = 0_usize;
            let mut item = start + 1;
            for (offset, char) in code[start..end].char_indices() {
                match char {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if (depth == 1 && char == ',') || depth == 0 {
                    found.extend(segment(code, item));
                    item = start + offset + 1;
                }
            }
        } else {
            found.extend(segment(code, start));
        }
    }
    found
}

/// The word at `at`, behind blanks.
fn segment(code: &str, at: usize) -> Option<(usize, &str)> {
    let rest = &code[at..];
    let start = at + rest.len() - rest.trim_start().len();
    let word = &code[start..];
    let end = word.find(|char| !is_word(char)).unwrap_or(word.len());
    (end > 0).then(|| (start, &word[..end]))
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn assert_none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

#[test]
fn every_module_stands_in_one_row() {
    let mut modules: Vec<String> = sources().iter().map(|source| source.module().to_owned()).collect();
    modules.sort();
    modules.dedup();
    modules.retain(|module| module != "lib");
    let mut known: Vec<&str> = ROWS.iter().copied().flatten().copied().collect();
    known.sort_unstable();
    assert_eq!(modules, known, "a new module needs a row, and a row needs its modules");
}

/// Tests inside `src/` obey it as well: what a layer's tests need of a higher one belongs into `tests/`.
#[test]
fn modules_import_only_from_rows_below_their_own() {
    let mut faults = Vec::new();
    for source in sources() {
        let module = source.module().to_owned();
        if module == "lib" {
            continue;
        }
        let own = row(&module).unwrap();
        let root = if module == "main" { "cloudserver::" } else { "crate::" };
        for (at, target) in first_segments(&source.code, root) {
            let fault = match row(target) {
                _ if target == module => false,
                Some(row) => row <= own,
                // A macro or an item of the crate's root: there are none.
                None => true,
            };
            if fault {
                faults.push(format!("src/{}:{}: {module} imports {target}", source.path, line_of(&source.code, at)));
            }
        }
    }
    assert_none(&faults, "layers import only downwards, never sideways");
}

#[test]
fn super_never_leaves_a_top_level_module() {
    let mut faults = Vec::new();
    for source in sources() {
        for (at, supers) in source.code.match_indices("super::") {
            if source.code[..at].ends_with("super::") {
                continue;
            }
            let steps = source.code[at..].split("super::").take_while(|piece| piece.is_empty()).count();
            // Each inline module that is open here is one step more.
            let before = &source.code[..at];
            let inline = before
                .match_indices("mod ")
                .filter(|(start, _)| {
                    let open = before[*start..].find(['{', ';']).map(|offset| start + offset);
                    open.is_some_and(|open| before.as_bytes()[open] == b'{' && closing(&source.code, open) > at)
                })
                .count();
            if steps >= source.depth() + inline {
                faults.push(format!("src/{}:{}: {supers}", source.path, line_of(&source.code, at)));
            }
        }
    }
    assert_none(&faults, "other layers are named by `crate::`, so that the rule above sees them");
}

#[test]
fn files_stay_under_the_budget_tests_and_all() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz"] {
        collect(&root.join(folder), &mut files);
    }
    assert!(files.len() > 500, "only {} files in {}", files.len(), root.display());
    let mut faults = Vec::new();
    for file in &files {
        let lines = without_tables(&blank(&fs::read_to_string(file).unwrap())).lines().count();
        let most = if file.ends_with("src/main.rs") { MAIN_LINES } else { FILE_LINES };
        if lines > most {
            faults.push(format!("{}: {lines} lines, {most} allowed", file.display()));
        }
    }
    assert_none(&faults, "long files have more than one subject");
}

#[test]
fn functions_stay_under_the_budget() {
    let mut faults = Vec::new();
    for Source { path, production, .. } in sources() {
        for (at, _) in production.match_indices("fn ") {
            if production[..at].ends_with(is_word) || segment(&production, at + 3).is_none() {
                continue;
            }
            let Some(open) = production[at..].find(['{', ';']).map(|offset| at + offset) else { continue };
            if production.as_bytes()[open] == b';' {
                continue;
            }
            let lines = lines_of_code(&production[at..closing(&production, open)]);
            if lines > FUNCTION_LINES {
                faults.push(format!("src/{path}:{}: {lines} lines", line_of(&production, at)));
            }
        }
    }
    assert_none(&faults, "a function fits on a screen");
}

#[test]
fn nothing_in_the_server_panics_on_purpose() {
    let mut faults = Vec::new();
    for Source { path, production, .. } in sources() {
        for needle in [".unwrap()", ".expect(", "todo!", "unimplemented!", "panic!", "unreachable!", "dbg!"] {
            for (at, _) in production.match_indices(needle) {
                if !production[..at].ends_with(is_word) || needle.starts_with('.') {
                    faults.push(format!("src/{path}:{}: {needle}", line_of(&production, at)));
                }
            }
        }
    }
    assert_none(&faults, "a case that cannot happen is an error that names the broken invariant");
}

#[test]
fn a_module_with_parts_is_a_folder_with_mod_rs() {
    let sources = sources();
    let mut folders: BTreeMap<String, bool> = BTreeMap::new();
    for source in &sources {
        if let Some((folder, name)) = source.path.rsplit_once('/') {
            *folders.entry(folder.to_owned()).or_default() |= name == "mod.rs";
        }
    }
    let mut faults: Vec<String> =
        folders.iter().filter(|(_, has)| !**has).map(|(folder, _)| format!("src/{folder} has no mod.rs")).collect();
    for source in &sources {
        let stem = source.path.trim_end_matches(".rs");
        if folders.contains_key(stem) {
            faults.push(format!("src/{} stands beside its folder", source.path));
        }
        for word in ["util", "helper", "manager", "common", "misc"] {
            if stem.rsplit('/').next().is_some_and(|name| name.contains(word)) {
                faults.push(format!("src/{}: a name without a subject", source.path));
            }
        }
    }
    assert_none(&faults, "`dir/mod.rs`, with its vocabulary");
}

#[test]
fn nothing_is_imported_by_a_star_outside_tests() {
    let mut faults = Vec::new();
    for Source { path, production, .. } in sources() {
        for (at, _) in production.match_indices("::*") {
            faults.push(format!("src/{path}:{}", line_of(&production, at)));
        }
    }
    assert_none(&faults, "a reader sees where a name comes from");
}

#[test]
fn the_reader_of_this_test_reads_rust() {
    let text = "fn a() { let s = \"} // { \\\" \"; let c = '{'; let r = r#\"\"}\"#; } // }\nuse crate::{a::B, c, d::{e, f}};\n";
    let code = blank(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(closing(&code, 7), code.find("\nuse").unwrap() - 5);
    let segments: Vec<&str> = first_segments(&code, "crate::").into_iter().map(|(_, word)| word).collect();
    assert_eq!(segments, ["a", "c", "d"]);
    let tests = "a;\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nc;\n#[cfg(test)]\nmod x;\nd;\n";
    let kept: Vec<&str> = without_tests(tests)
        .split_whitespace()
        .map(|word| match word {
            "a;" => "a",
            "c;" => "c",
            "d;" => "d",
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(kept, ["a", "c", "d"]);
    assert_eq!(without_tables("pub static T: &[u8] = &[\n  1,\n  2,\n];\nx;\n"), "pub static T: &[u8] = &[\nx;\n");
}
