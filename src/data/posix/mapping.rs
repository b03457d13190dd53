//! From names of objects to paths of files, and back.
//!
//! A native name is `<bucket>/<key>`, or `<key>` where the location belongs to one bucket. Its parts between slashes are
//! folders and a file, and a readable name stays as it is. What a file system cannot hold, or would take for something
//! else, is escaped; no two names share a path.
//!
//! | in the name | on the disk |
//! |---|---|
//! | an empty part: a slash at the beginning or the end, or a double one | `%_` |
//! | a part `.` | `%2E` |
//! | a part `..` | `%2E.` |
//! | the first part `.cloudserver`, which is ours | `%2Ecloudserver` |
//! | a byte 0 to 31, or 127 | `%00` to `%1F`, `%7F` |
//! | `%` before what would make it one of these escapes: `%25`, `%2E`, `%00`…`%1F`, `%7F`, `%_`, `%=`, `%+` | `%25` |
//! | a part of more than 255 bytes | pieces of up to 253 bytes, each but the last followed by `%+`, one in the other |
//! | the last part of a name that is a folder, too (`a` beside `a/b`) | with `%=` at its end: the form *aside* |
//!
//! Any other `%` stays. Pieces end between characters and between escapes.

/// The folder for our own use, at the top of the location.
pub(super) const RESERVED: &str = ".cloudserver";

/// The longest name of a file or folder, in bytes (`NAME_MAX`).
const LONGEST: usize = 255;
const CONTINUES: &str = "%+";
const EMPTY: &str = "%_";
const ASIDE: &str = "%=";

/// The two places of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Its own name.
    Plain,
    /// Where a folder has its name.
    Aside,
}

/// The folders and the file of a native name, outermost first; never empty, and safe to use as names below a directory.
pub(super) fn map(native: &str, form: Form) -> Vec<String> {
    let mut names = Vec::new();
    let mut parts = native.split('/').enumerate().peekable();
    while let Some((index, part)) = parts.next() {
        let aside = form == Form::Aside && parts.peek().is_none();
        push_part(part, index == 0, aside, &mut names);
    }
    names
}

/// The native name and form of a path below the location; `None` where [`map`] makes no such path.
pub(super) fn unmap(path: &[&str]) -> Option<(String, Form)> {
    let mut native = String::new();
    let mut form = Form::Plain;
    let mut continued = false;
    for (index, name) in path.iter().enumerate() {
        if index > 0 && !continued {
            native.push('/');
        }
        let last = index + 1 == path.len();
        let (text, more) = name.strip_suffix(CONTINUES).map_or((*name, false), |text| (text, true));
        let (text, aside) = text.strip_suffix(ASIDE).map_or((text, false), |text| (text, true));
        if (last && more) || (!last && aside) {
            return None;
        }
        if aside {
            form = Form::Aside;
        }
        if text != EMPTY {
            unescape(text, &mut native)?;
        }
        continued = more;
    }
    let same = map(&native, form).iter().map(String::as_str).eq(path.iter().copied());
    same.then_some((native, form))
}

fn push_part(part: &str, first: bool, aside: bool, names: &mut Vec<String>) {
    let mut units = escape(part, first);
    if aside {
        units.push(ASIDE.to_owned());
    }
    if units.iter().map(String::len).sum::<usize>() <= LONGEST {
        names.push(units.concat());
        return;
    }
    let mut name = String::new();
    for unit in units {
        if name.len() + unit.len() > LONGEST - CONTINUES.len() {
            name.push_str(CONTINUES);
            names.push(std::mem::take(&mut name));
        }
        name.push_str(&unit);
    }
    // The rest may be what no name can be.
    names.push(match name.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E.".to_owned(),
        _ => name,
    });
}

/// The characters of a part, each as it is or escaped.
fn escape(part: &str, first: bool) -> Vec<String> {
    if part.is_empty() {
        return vec![EMPTY.to_owned()];
    }
    let hides_dot = matches!(part, "." | "..") || (first && part == RESERVED);
    let unit = |(at, character): (usize, char)| match character {
        '.' if hides_dot && at == 0 => "%2E".to_owned(),
        '%' if part.get(at + 1..).is_some_and(is_escape) => "%25".to_owned(),
        '\0'..='\x1f' | '\x7f' => format!("%{:02X}", u32::from(character)),
        _ => character.to_string(),
    };
    part.char_indices().map(unit).collect()
}

/// Whether what follows a `%` makes it one of our escapes.
fn is_escape(rest: &str) -> bool {
    rest.starts_with(['_', '=', '+']) || escaped(rest).is_some()
}

/// The character whose two digits `rest` begins with, where it is one that we escape.
fn escaped(rest: &str) -> Option<char> {
    let digits = rest.get(..2)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)) {
        return None;
    }
    let code = u8::from_str_radix(digits, 16).ok()?;
    matches!(code, 0..=0x1f | 0x25 | 0x2e | 0x7f).then(|| char::from(code))
}

/// Adds the characters that a name without its ending stands for.
fn unescape(text: &str, native: &mut String) -> Option<()> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        native.push_str(before);
        if let Some(character) = escaped(after) {
            native.push(character);
            rest = after.get(2..)?;
        } else {
            native.push('%');
            rest = after;
        }
    }
    native.push_str(rest);
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(native: &str, form: Form) -> String {
        map(native, form).join("/")
    }

    #[test]
    fn readable_names_stay_and_others_are_escaped() {
        let long = "x".repeat(256);
        let cases = [
            ("b/photos/2026/summer 1.jpg", "b/photos/2026/summer 1.jpg"),
            ("b/50% off.pdf", "b/50% off.pdf"),
            ("b/a%20b", "b/a%20b"),
            ("b/a%2Eb", "b/a%252Eb"),
            ("b/ä/Ö", "b/ä/Ö"),
            ("b/a/", "b/a/%_"),
            ("b//a", "b/%_/a"),
            ("b/./..", "b/%2E/%2E."),
            ("b/../../etc/passwd", "b/%2E./%2E./etc/passwd"),
            ("b/...", "b/..."),
            ("b/.hidden", "b/.hidden"),
            ("b/.cloudserver", "b/.cloudserver"),
            (".cloudserver/x", "%2Ecloudserver/x"),
            ("/etc/passwd", "%_/etc/passwd"),
            ("b/a\0b\n", "b/a%00b%0A"),
            ("b/%=", "b/%25="),
            (&format!("b/{long}/y"), &format!("b/{}%+/xxx/y", "x".repeat(253))),
        ];
        for (native, expected) in cases {
            assert_eq!(path(native, Form::Plain), expected);
        }
        assert_eq!(path("b/a", Form::Aside), "b/a%=");
        assert_eq!(path("b/a%", Form::Aside), "b/a%%=");
        assert_eq!(path("b/", Form::Aside), "b/%_%=");
    }

    #[test]
    fn the_rest_of_a_long_part_is_never_a_folder_above() {
        let name = map(&format!("{}..", "a".repeat(506)), Form::Plain);
        assert_eq!(name.last().unwrap(), "%2E.");
        let name = map(&format!("{}.", "a".repeat(506)), Form::Plain);
        assert_eq!(name.last().unwrap(), "%2E");
    }

    #[test]
    fn strange_paths_are_nobodys() {
        for path in ["a%", "a b%=", "%25=", "x%+/y"] {
            let parts: Vec<&str> = path.split('/').collect();
            assert_eq!(unmap(&parts).is_some(), path != "x%+/y", "{path}");
        }
        for path in ["a\nb", "%+", "%=", "a%=/b", "a%+%=", "%41\u{1}", "%_b/%_%+", ".cloudserver/x"] {
            let parts: Vec<&str> = path.split('/').collect();
            assert_eq!(unmap(&parts), None, "{path:?}");
        }
    }

    /// Texts full of what the mapping treats apart.
    fn tricky() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            8 => prop::sample::select(vec![
                "/", "%", "%25", "%2E", "%+", "%=", "%_", "_", "=", "+", ".", "..", "//", "%0", "A", "2E", "25", "\0", "\n",
                "\x7f", ".cloudserver", "a", "ß", "\u{1F600}", "%%", "%2", "5",
            ]).prop_map(str::to_owned),
            1 => (1_usize..600).prop_map(|len| "x".repeat(len)),
            1 => any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(piece, 1..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn a_name_comes_back_from_its_path_and_every_part_is_safe(native in tricky(), aside in any::<bool>()) {
            let form = if aside { Form::Aside } else { Form::Plain };
            let names = map(&native, form);
            prop_assert!(!names.is_empty());
            for name in &names {
                prop_assert!((1..=255).contains(&name.len()), "{name:?}");
                prop_assert!(name != "." && name != "..", "{name:?}");
                prop_assert!(name.bytes().all(|byte| byte != b'/' && byte >= 0x20 && byte != 0x7f), "{name:?}");
            }
            prop_assert_ne!(&names[0], RESERVED);
            let parts: Vec<&str> = names.iter().map(String::as_str).collect();
            prop_assert_eq!(unmap(&parts), Some((native, form)));
        }

        #[test]
        fn two_names_never_share_a_path(one in tricky(), other in tricky()) {
            prop_assume!(one != other);
            for form in [Form::Plain, Form::Aside] {
                prop_assert_ne!(map(&one, Form::Plain), map(&other, form));
                prop_assert_ne!(map(&one, Form::Aside), map(&other, form));
            }
        }

        #[test]
        fn a_path_that_is_accepted_is_the_path_of_its_name(path in tricky()) {
            let parts: Vec<&str> = path.split('/').collect();
            if let Some((native, form)) = unmap(&parts) {
                prop_assert_eq!(map(&native, form).join("/"), path);
            }
        }

        #[test]
        fn paths_of_the_longest_keys_fit_the_system(units in prop::collection::vec(any::<char>(), 1..1024)) {
            let mut key: String = units.into_iter().collect();
            while key.len() > 1024 {
                key.pop();
            }
            let path = path(&format!("{}/{key}", "b".repeat(63)), Form::Aside);
            prop_assert!(path.len() < 4000);
        }
    }
}
