//! JSON lines written field by field into one buffer: no tree, no allocation.

use std::fmt::{self, Write};

/// A JSON object under construction at the end of a buffer.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub fn open(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// Closes the object.
    pub fn close(self) {
        self.out.push('}');
    }

    fn name(&mut self, name: &str) {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        quote(self.out, name);
        self.out.push(':');
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        quote(self.out, value);
    }

    /// Adds a text where there is one.
    pub fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Adds what displays as a JSON number or boolean.
    pub fn plain(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{value}");
    }

    /// Adds a text from what displays, escaped on the way.
    pub fn display(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.name(name);
        self.out.push('"');
        let _ = Escaping(self.out).write_fmt(value);
        self.out.push('"');
    }

    /// Adds an object.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        let mut inner = Object::open(self.out);
        fill(&mut inner);
        inner.close();
    }
}

/// Appends `text` as a JSON string.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

/// Appends `text` with everything escaped that could end a JSON string or a line, or steer a terminal.
pub fn escape(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(needs_escape) {
        let (clean, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(clean);
        let mut chars = tail.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some(other) => {
                let _ = write!(out, "\\u{:04x}", u32::from(other));
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// U+2028 and U+2029 are legal in JSON, but end a line for many a log reader. C1 controls steer terminals.
fn needs_escape(c: char) -> bool {
    matches!(c, '"' | '\\' | '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_survives_and_stays_on_its_line(name in "[a-z]{1,8}", value in any::<String>(), number in any::<u64>()) {
            let mut line = String::new();
            let mut object = Object::open(&mut line);
            object.text(&name, &value);
            object.plain("number", number);
            object.display("shown", format_args!("<{value}>"));
            object.object("inner", |inner| inner.maybe("text", Some(&value)));
            object.close();
            prop_assert!(!line.chars().any(char::is_control), "{line}");
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&parsed["number"], number);
            prop_assert_eq!(parsed["shown"].as_str().unwrap(), format!("<{value}>"));
            prop_assert_eq!(parsed["inner"]["text"].as_str().unwrap(), value.as_str());
            if name != "number" && name != "shown" && name != "inner" {
                prop_assert_eq!(parsed[&name].as_str().unwrap(), value.as_str());
            }
        }
    }
}
