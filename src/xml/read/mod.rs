//! Reading request documents.
//!
//! A document becomes a tree that borrows its text. What could make a reader do more work than a document is worth
//! is refused: document type declarations, entities of a client's own, deep nesting, many elements. Order and
//! namespace of elements do not matter. Text is never trimmed: a key may begin with a newline.

use std::{borrow::Cow, str::FromStr};

use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
};
use thiserror::Error;

/// The deepest nesting.
const DEPTH: usize = 32;
/// The most elements: 10,000 parts with ten children each, or 1,000 keys, and room to spare.
const ELEMENTS: usize = 150_000;
/// The most attributes of one element.
const ATTRIBUTES: usize = 16;

/// Why a document is not taken. To S3's clients each is `MalformedXML` (or the code of the document's own kind).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum XmlError {
    /// Not UTF-8.
    #[error("the document is not UTF-8")]
    NotUtf8,
    /// Not well-formed.
    #[error("the document is not well-formed: {0}")]
    Syntax(String),
    /// Declares a document type.
    #[error("the document declares a document type")]
    DocumentType,
    /// Refers to an entity other than the five of XML itself, or to no character.
    #[error("the document refers to an unknown entity or character")]
    UnknownEntity,
    /// Nested too deeply, or too many elements or attributes.
    #[error("the document has too many levels, elements or attributes")]
    TooComplex,
    /// An element that must be there is not.
    #[error("the element {0} is missing")]
    Missing(&'static str),
    /// An element that may stand once stands there again.
    #[error("the element {0} is repeated")]
    Repeated(&'static str),
    /// An element that does not belong there.
    #[error("the element {0} does not belong here")]
    Unexpected(String),
    /// An element whose content is not what it must be.
    #[error("the element {0} has an invalid value")]
    Invalid(&'static str),
}

/// An element of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element<'a> {
    name: &'a str,
    text: Cow<'a, str>,
    attributes: Vec<(String, String)>,
    children: Vec<Element<'a>>,
}

/// Reads a document.
///
/// The caller has bounded its size; time and memory are proportional to that.
///
/// # Errors
/// [`XmlError`]; never one about missing or unexpected elements, which are for the caller to judge.
pub fn read(document: &[u8]) -> Result<Element<'_>, XmlError> {
    let document = str::from_utf8(document).map_err(|_| XmlError::NotUtf8)?;
    if document.contains('\0') {
        return Err(syntax("a NUL"));
    }
    // The reader would skip the mark itself, and its positions with it.
    let document = document.strip_prefix('\u{feff}').unwrap_or(document);
    let mut reader = Reader::from_str(document);
    let mut tree = Tree::default();
    loop {
        let position = reader.buffer_position();
        match reader.read_event().map_err(|error| syntax(&error.to_string()))? {
            Event::Start(start) => tree.open(name(document, position, &start)?, &start)?,
            Event::Empty(start) => {
                tree.open(name(document, position, &start)?, &start)?;
                tree.close()?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => tree.text(text.xml10_content())?,
            Event::CData(text) => tree.text(text.xml10_content())?,
            Event::GeneralRef(reference) => tree.character(character(&reference)?)?,
            Event::DocType(_) => return Err(XmlError::DocumentType),
            Event::Decl(_) if position > 0 => return Err(syntax("a declaration inside the document")),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Eof => return tree.finish(),
        }
    }
}

fn syntax(what: &str) -> XmlError {
    XmlError::Syntax(what.to_owned())
}

/// The name of the element that starts at `position`, as a slice of the document: the reader's own does not outlive
/// its event.
fn name<'a>(document: &'a str, position: u64, start: &BytesStart<'_>) -> Result<&'a str, XmlError> {
    let length = start.name().as_ref().len();
    let from = usize::try_from(position).map_err(|_| XmlError::TooComplex)?.saturating_add(1);
    let name = document.get(from..from.saturating_add(length)).filter(|name| *name == start.name().as_ref());
    let name = name.ok_or_else(|| syntax("a name out of place"))?;
    let local = name.rsplit_once(':').map_or(name, |(_, local)| local);
    if local.is_empty() { Err(syntax("an element without a name")) } else { Ok(local) }
}

/// The character a reference stands for.
fn character(reference: &BytesRef<'_>) -> Result<char, XmlError> {
    // References to control characters are not XML 1.0, but keys hold such characters and clients spell them so.
    let named = || resolve_predefined_entity(reference).and_then(|text| text.chars().next());
    reference.resolve_char_ref().ok().and_then(|character| character.or_else(named)).ok_or(XmlError::UnknownEntity)
}

/// A tree under construction.
#[derive(Default)]
struct Tree<'a> {
    open: Vec<Element<'a>>,
    root: Option<Element<'a>>,
    elements: usize,
}

impl<'a> Tree<'a> {
    fn open(&mut self, name: &'a str, start: &BytesStart<'_>) -> Result<(), XmlError> {
        self.elements += 1;
        if self.open.len() >= DEPTH || self.elements > ELEMENTS {
            return Err(XmlError::TooComplex);
        }
        if self.root.is_some() {
            return Err(syntax("more than one root"));
        }
        let attributes = attributes(start)?;
        self.open.push(Element { name, attributes, ..Element::default() });
        Ok(())
    }

    fn close(&mut self) -> Result<(), XmlError> {
        let element = self.open.pop().ok_or_else(|| syntax("an end without a start"))?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: Cow<'a, str>) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(element) if element.text.is_empty() => element.text = text,
            Some(element) => element.text.to_mut().push_str(&text),
            None if text.chars().all(|c| c.is_ascii_whitespace()) => {}
            None => return Err(syntax("text outside the root")),
        }
        Ok(())
    }

    fn character(&mut self, character: char) -> Result<(), XmlError> {
        let element = self.open.last_mut().ok_or_else(|| syntax("text outside the root"))?;
        element.text.to_mut().push(character);
        Ok(())
    }

    fn finish(self) -> Result<Element<'a>, XmlError> {
        if !self.open.is_empty() {
            return Err(syntax("an element is not ended"));
        }
        self.root.ok_or_else(|| syntax("no root"))
    }
}

/// The attributes but for declarations of namespaces, by local name.
fn attributes(start: &BytesStart<'_>) -> Result<Vec<(String, String)>, XmlError> {
    let mut attributes = Vec::new();
    // The iterator compares each attribute with all before it, so their number is bounded as they come.
    for (index, attribute) in start.attributes().enumerate() {
        if index >= ATTRIBUTES {
            return Err(XmlError::TooComplex);
        }
        let attribute = attribute.map_err(|error| syntax(&error.to_string()))?;
        let key = attribute.key.as_ref();
        let (prefix, local) = key.split_once(':').unwrap_or(("", key));
        if prefix == "xmlns" || key == "xmlns" {
            continue;
        }
        if local.is_empty() {
            return Err(syntax("an attribute without a name"));
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| XmlError::UnknownEntity)?;
        attributes.push((local.to_owned(), value.into_owned()));
    }
    Ok(attributes)
}

impl<'a> Element<'a> {
    /// Its name without a prefix.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The text directly within it, untrimmed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value of an attribute, by its name without a prefix.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All attributes, by their names without prefixes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// All elements directly within it.
    pub fn children(&self) -> &[Self] {
        &self.children
    }

    /// The elements of one name directly within it.
    pub fn children_named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element of this name, if it is there.
    ///
    /// # Errors
    /// [`XmlError::Repeated`] if there are two.
    pub fn child(&self, name: &'static str) -> Result<Option<&Self>, XmlError> {
        let mut named = self.children_named(name);
        let first = named.next();
        if named.next().is_some() { Err(XmlError::Repeated(name)) } else { Ok(first) }
    }

    /// The element of this name.
    ///
    /// # Errors
    /// [`XmlError::Missing`], [`XmlError::Repeated`].
    pub fn required(&self, name: &'static str) -> Result<&Self, XmlError> {
        self.child(name)?.ok_or(XmlError::Missing(name))
    }

    /// The text of the element of this name, if it is there.
    ///
    /// # Errors
    /// [`XmlError::Repeated`]; [`XmlError::Invalid`] if there are elements in it.
    pub fn optional_text(&self, name: &'static str) -> Result<Option<&str>, XmlError> {
        match self.child(name)? {
            Some(child) if child.children.is_empty() => Ok(Some(child.text())),
            Some(_) => Err(XmlError::Invalid(name)),
            None => Ok(None),
        }
    }

    /// The text of the element of this name.
    ///
    /// # Errors
    /// As [`Element::optional_text`], and [`XmlError::Missing`].
    pub fn required_text(&self, name: &'static str) -> Result<&str, XmlError> {
        self.optional_text(name)?.ok_or(XmlError::Missing(name))
    }

    /// The value of the element of this name (a number, a boolean), if it is there. White space around it is none.
    ///
    /// # Errors
    /// As [`Element::optional_text`]; [`XmlError::Invalid`] if it cannot be read.
    pub fn optional<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, XmlError> {
        let value = self.optional_text(name)?.map(|text| text.trim().parse().map_err(|_| XmlError::Invalid(name)));
        value.transpose()
    }

    /// Refuses elements other than these: where a mistyped name would lose data.
    ///
    /// # Errors
    /// [`XmlError::Unexpected`].
    pub fn only(&self, names: &[&str]) -> Result<(), XmlError> {
        match self.children.iter().find(|child| !names.contains(&child.name)) {
            Some(child) => Err(XmlError::Unexpected(child.name.to_owned())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
