//! Just enough of XML to look into answers, independent of the server's own reader.

/// The insides of all elements of this name, in document order; elements of one name are never nested in S3.
pub(crate) fn sections(text: &str, name: &str) -> Vec<String> {
    let (open, close, empty) = (format!("<{name}>"), format!("</{name}>"), format!("<{name}/>"));
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        match (rest.find(&open), rest.find(&empty)) {
            (None, None) => return found,
            (start, Some(at)) if start.is_none_or(|start| at < start) => {
                found.push(String::new());
                rest = &rest[at + empty.len()..];
            }
            (start, _) => {
                let from = start.unwrap() + open.len();
                let end = from + rest[from..].find(&close).unwrap_or_else(|| panic!("{name} is not closed: {text}"));
                found.push(rest[from..end].to_owned());
                rest = &rest[end + close.len()..];
            }
        }
    }
}

/// The text that escaped text stands for. References to characters that XML forbids are read, too: keys hold them.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut pieces = text.split('&');
    out.push_str(pieces.next().unwrap());
    for piece in pieces {
        let (name, rest) = piece.split_once(';').unwrap_or_else(|| panic!("a bare ampersand: {text}"));
        let code = name.strip_prefix("#x").map(|digits| u32::from_str_radix(digits, 16).unwrap());
        let code = code.or_else(|| Some(name.strip_prefix('#')?.parse().unwrap()));
        out.push(match (name, code) {
            ("amp", _) => '&',
            ("lt", _) => '<',
            ("gt", _) => '>',
            ("quot", _) => '"',
            ("apos", _) => '\'',
            (_, Some(code)) => char::from_u32(code).unwrap(),
            _ => panic!("an unknown entity: {text}"),
        });
        out.push_str(rest);
    }
    out
}

/// Text as it stands in a document.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0'..='\x1f' => out.push_str(&format!("&#{};", u32::from(char))),
            other => out.push(other),
        }
    }
    out
}
