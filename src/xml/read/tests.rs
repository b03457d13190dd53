use proptest::prelude::*;

use super::*;

fn refused(document: &str) -> XmlError {
    read(document.as_bytes()).expect_err("a bad document")
}

#[test]
fn a_delete_document_reads_with_and_without_namespace_and_prefix() {
    for document in [
        "<Delete><Object><Key>a</Key></Object><Quiet>true</Quiet></Delete>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n  \
         <Quiet> true </Quiet>\n  <Object>\n<Key>a</Key></Object>\n</Delete>\n<!-- the end -->\n",
        "\u{feff}<?xml version='1.0'?><s3:Delete xmlns:s3='http://s3.amazonaws.com/doc/2006-03-01/'>\
         <s3:Object><s3:Key><![CDATA[a]]></s3:Key></s3:Object><s3:Quiet>true</s3:Quiet></s3:Delete>",
    ] {
        let root = read(document.as_bytes()).expect("a good document");
        assert_eq!(root.name(), "Delete");
        assert_eq!(root.optional::<bool>("Quiet"), Ok(Some(true)));
        assert_eq!(root.only(&["Object", "Quiet"]), Ok(()));
        let objects: Vec<&Element<'_>> = root.children_named("Object").collect();
        assert_eq!(objects.len(), 1, "{document}");
        assert_eq!(objects[0].required_text("Key"), Ok("a"));
        assert_eq!(objects[0].optional_text("VersionId"), Ok(None));
        assert_eq!(objects[0].required_text("VersionId"), Err(XmlError::Missing("VersionId")));
    }
}

#[test]
fn text_is_never_trimmed() {
    for (text, key) in [
        ("\n a \t", "\n a \t"),
        ("&#10;a", "\na"),
        ("&#xD;&#xA;", "\r\n"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("&lt;&gt;&amp;&quot;&apos;", "<>&\"'"),
        ("a<![CDATA[<&]]>b<!-- no -->c&#x1F600;", "a<&bc\u{1f600}"),
        ("&#x1;&#31;", "\u{1}\u{1f}"),
        ("", ""),
        ("  ", "  "),
    ] {
        let document = format!("<D><Key>{text}</Key></D>");
        let root = read(document.as_bytes()).expect("a good document");
        assert_eq!(root.required_text("Key"), Ok(key), "{text:?}");
    }
}

#[test]
fn attributes_are_found_by_local_name() {
    let document = "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                    xsi:type=\"Canonical&#85;ser\"><ID>x</ID></Grantee></Grant>";
    let root = read(document.as_bytes()).expect("a good document");
    let grantee = root.required("Grantee").expect("it is there");
    assert_eq!(grantee.attribute("type"), Some("CanonicalUser"));
    assert_eq!(grantee.attribute("xsi"), None);
    assert_eq!(grantee.children().len(), 1);
    for nameless in ["<D :=\"1\"/>", "<D xsi:=\"1\"/>"] {
        assert!(matches!(refused(nameless), XmlError::Syntax(_)), "{nameless}");
    }
}

#[test]
fn what_does_not_belong_is_named() {
    let root = read(b"<A><B>1</B><B>2</B><C><D/></C><N>x1</N><E/></A>").expect("well-formed");
    assert_eq!(root.child("B"), Err(XmlError::Repeated("B")));
    assert_eq!(root.required_text("B"), Err(XmlError::Repeated("B")));
    assert_eq!(root.required_text("C"), Err(XmlError::Invalid("C")));
    assert_eq!(root.optional::<u32>("N"), Err(XmlError::Invalid("N")));
    assert_eq!(root.optional::<u32>("M"), Ok(None));
    assert_eq!(root.required_text("E"), Ok(""));
    assert_eq!(root.only(&["B", "C", "N"]), Err(XmlError::Unexpected("E".to_owned())));
    assert_eq!(root.required("F").map(Element::name), Err(XmlError::Missing("F")));
}

#[test]
fn a_document_type_is_refused_wherever_and_however_it_is_declared() {
    for document in [
        "<!DOCTYPE a><a/>",
        "<?xml version=\"1.0\"?><!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
        "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
        "<!DOCTYPE a [<!ENTITY a0 \"ha\"><!ENTITY a1 \"&a0;&a0;&a0;\"><!ENTITY a2 \"&a1;&a1;\">]><a>&a2;</a>",
        "<!DOCTYPE a [<!ENTITY % p SYSTEM \"http://169.254.169.254/\"> %p;]><a/>",
        "<a/><!DOCTYPE a>",
        "<a><!DOCTYPE a></a>",
    ] {
        assert_eq!(refused(document), XmlError::DocumentType, "{document}");
    }
}

#[test]
fn entities_beyond_the_predefined_ones_are_refused() {
    for reference in ["&x;", "&nbsp;", "&#0;", "&#x0;", "&#xD800;", "&#x110000;", "&#;", "&#x;", "&#+65;", "&;", "&LT;"]
    {
        let document = format!("<a>{reference}</a>");
        assert_eq!(refused(&document), XmlError::UnknownEntity, "{reference}");
    }
    assert!(matches!(refused("<a>&lt</a>"), XmlError::Syntax(_)));
    assert_eq!(refused("<a b=\"&x;\"/>"), XmlError::UnknownEntity);
}

#[test]
fn nesting_beyond_32_levels_is_refused() {
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert!(read(nested(32).as_bytes()).is_ok());
    assert_eq!(refused(&nested(33)), XmlError::TooComplex);
    assert_eq!(refused(&"<a>".repeat(100_000)), XmlError::TooComplex);
}

#[test]
fn many_elements_or_attributes_are_refused() {
    let many = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count));
    assert_eq!(read(many(100_000).as_bytes()).map(|root| root.children().len()), Ok(100_000));
    assert_eq!(refused(&many(150_001)), XmlError::TooComplex);
    let attributes = " b=''".repeat(100_000);
    let distinct: Vec<String> = (0..17).map(|number| format!(" a{number}=''")).collect();
    assert_eq!(refused(&format!("<a{}{attributes}/>", distinct.concat())), XmlError::TooComplex);
    assert!(read(format!("<a{}/>", distinct.split_at(16).0.concat()).as_bytes()).is_ok());
}

#[test]
fn a_long_text_of_references_is_read_in_linear_time() {
    let document = format!("<a>{}</a>", "&lt;".repeat(500_000));
    assert_eq!(read(document.as_bytes()).map(|root| root.text().len()), Ok(500_000));
    let document = format!("<a>{}</a>", "x<!---->".repeat(250_000));
    assert_eq!(read(document.as_bytes()).map(|root| root.text().len()), Ok(250_000));
}

#[test]
fn ill_formed_documents_are_refused() {
    for document in [
        "",
        "  ",
        "text",
        "<a>",
        "<a></b>",
        "</a>",
        "<a/><b/>",
        "<a/>text",
        "text<a/>",
        "<a",
        "<a b/>",
        "<a b=c/>",
        "<a b='1' b='2'/>",
        "<a></a",
        "<>x</>",
        "<a><![CDATA[x</a>",
        "<a><!-- </a>",
        "<a/>&lt;",
        "<a>\0</a>",
        "<a><?xml version='1.0'?></a>",
        "<:/>",
        "<?xml version='1.0'",
    ] {
        assert!(matches!(refused(document), XmlError::Syntax(_)), "{document:?}: {:?}", refused(document));
    }
    assert_eq!(read(b"<a>\xff</a>"), Err(XmlError::NotUtf8));
    assert_eq!(read(b"\xff\xfe<\0a\0/\0>\0"), Err(XmlError::NotUtf8));
}

/// A document in pieces: fragments that a fuzzer would find in any grammar of XML.
fn any_document() -> impl Strategy<Value = String> {
    let fragment = proptest::sample::select(vec![
        "<a>",
        "</a>",
        "<b x='1'>",
        "</b>",
        "<c/>",
        "<",
        ">",
        "&",
        "&lt;",
        "&#1;",
        "&#x;",
        ";",
        "text",
        "\n",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?",
        "?>",
        "<?xml version='1.0'?>",
        "<!DOCTYPE",
        "<!DOCTYPE a>",
        "\"",
        "'",
        "=",
        "xmlns",
        ":",
        "é",
        "\u{fffe}",
        "\r",
        "/",
    ]);
    proptest::collection::vec(fragment, 0..40).prop_map(|fragments| fragments.concat())
}

proptest! {
    #[test]
    fn arbitrary_documents_never_panic(document in prop_oneof![any_document(), ".{0,200}"]) {
        if let Ok(root) = read(document.as_bytes()) {
            prop_assert!(!root.name().is_empty());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(document in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(root) = read(&document) {
            prop_assert!(!root.name().is_empty());
        }
    }
}
