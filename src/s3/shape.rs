//! The shape of a document as data: which elements, how often, with what text. Such a document is kept as it was put.
//!
//! Whatever does not fit its shape is `MalformedXML`, as with S3's own schema; rules of other codes are the caller's.

use super::{
    codes::S3Code,
    error::{S3Error, S3Result},
    xml::{Element, XmlWriter},
};
use crate::storage::records::SettingNode;

/// What stands in an element.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// Text of at most so many bytes.
    Text(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A number from the first to the second.
    Number(u32, u32),
    /// Elements, in the order in which they are written.
    Elements(&'static [Shape]),
}

/// An element of a document.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    name: &'static str,
    least: usize,
    most: usize,
    content: Content,
}

impl Shape {
    /// An element that stands there once.
    pub const fn one(name: &'static str, content: Content) -> Self {
        Self { name, least: 1, most: 1, content }
    }

    /// An element that may stand there.
    pub const fn maybe(name: &'static str, content: Content) -> Self {
        Self { name, least: 0, most: 1, content }
    }

    /// An element that stands there from `least` to `most` times.
    pub const fn many(name: &'static str, least: usize, most: usize, content: Content) -> Self {
        Self { name, least, most, content }
    }
}

/// Reads what stands in an element.
///
/// # Errors
/// `MalformedXML`.
pub fn read(element: &Element<'_>, shapes: &'static [Shape]) -> S3Result<Vec<SettingNode>> {
    let names: Vec<_> = shapes.iter().map(|shape| shape.name).collect();
    element.only(&names)?;
    let mut nodes = Vec::with_capacity(element.children().len());
    for shape in shapes {
        let mut count = 0;
        for child in element.children_named(shape.name) {
            count += 1;
            nodes.push(read_one(child, shape)?);
        }
        if !(shape.least..=shape.most).contains(&count) {
            return Err(S3Code::MalformedXML.into());
        }
    }
    Ok(nodes)
}

fn read_one(element: &Element<'_>, shape: &Shape) -> S3Result<SettingNode> {
    let mut node = SettingNode { name: shape.name.to_owned(), ..SettingNode::default() };
    let fits = match shape.content {
        Content::Elements(inner) => {
            node.children = read(element, inner)?;
            true
        }
        _ if !element.children().is_empty() => false,
        Content::Text(most) => {
            element.text().clone_into(&mut node.text);
            node.text.len() <= most
        }
        Content::Word(words) => {
            element.text().trim().clone_into(&mut node.text);
            words.contains(&node.text.as_str())
        }
        Content::Number(least, most) => {
            element.text().trim().clone_into(&mut node.text);
            node.text.parse::<u32>().is_ok_and(|number| (least..=most).contains(&number))
        }
    };
    if fits { Ok(node) } else { Err(S3Error::from(S3Code::MalformedXML)) }
}

/// Writes nodes that were read by these shapes.
pub fn write(xml: &mut XmlWriter, nodes: &[SettingNode], shapes: &'static [Shape]) {
    for node in nodes {
        // What a later release wrote and this one does not know is not shown.
        let Some(shape) = shapes.iter().find(|shape| shape.name == node.name) else { continue };
        match shape.content {
            Content::Elements(inner) => {
                xml.open(shape.name);
                write(xml, &node.children, inner);
                xml.close();
            }
            Content::Text(_) | Content::Word(_) | Content::Number(..) => {
                xml.text(shape.name, &node.text);
            }
        }
    }
}

/// The first node of that name.
pub fn child<'a>(nodes: &'a [SettingNode], name: &str) -> Option<&'a SettingNode> {
    nodes.iter().find(|node| node.name == name)
}

/// The node at the end of a path.
pub fn find<'a>(nodes: &'a [SettingNode], path: &[&str]) -> Option<&'a SettingNode> {
    let (last, parents) = path.split_last()?;
    let mut nodes = nodes;
    for name in parents {
        nodes = &child(nodes, name)?.children;
    }
    child(nodes, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::xml::read::read as xml;

    const SHAPES: &[Shape] = &[
        Shape::one("A", Content::Text(3)),
        Shape::maybe("B", Content::Word(&["x", "y"])),
        Shape::many("C", 0, 2, Content::Elements(&[Shape::one("N", Content::Number(1, 9))])),
    ];

    fn parsed(inner: &str) -> Option<Vec<SettingNode>> {
        let document = format!("<D>{inner}</D>");
        read(&xml(document.as_bytes()).unwrap(), SHAPES).ok()
    }

    #[test]
    fn a_document_fits_its_shape_or_is_malformed() {
        for good in ["<A>abc</A>", "<A/>", "<B>y</B><A>a</A>", "<A/><C><N>9</N></C><C><N> 1 </N></C>"] {
            assert!(parsed(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "<A>abcd</A>",
            "<A/><A/>",
            "<A/><B>z</B>",
            "<A/><B><x/></B>",
            "<A/><X/>",
            "<A/><C/>",
            "<A/><C><N>0</N></C>",
            "<A/><C><N>-1</N></C>",
            "<A/><C><N>1</N></C><C><N>1</N></C><C><N>1</N></C>",
        ] {
            assert!(parsed(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_what_was_read_in_the_order_of_the_shape() {
        let nodes = parsed("<C><N>2</N></C><B>x</B><A>&lt;</A>").unwrap();
        let mut writer = XmlWriter::bare("D", &[], 64);
        write(&mut writer, &nodes, SHAPES);
        let text = String::from_utf8(writer.finish().to_vec()).unwrap();
        assert!(text.ends_with("<D><A>&lt;</A><B>x</B><C><N>2</N></C></D>"), "{text}");
        assert_eq!(find(&nodes, &["C", "N"]).map(|node| node.text.as_str()), Some("2"));
        assert_eq!(find(&nodes, &["C", "M"]), None);
    }
}
