use proptest::prelude::*;

use super::{super::read::read, *};

#[test]
fn a_document_is_written_as_s3_writes_it() {
    let mut xml = XmlWriter::document("ListBucketResult", 0);
    xml.text("Name", "bucket").empty("Prefix").value("MaxKeys", 1000).value("IsTruncated", false);
    xml.open("Contents").text("Key", "a&b").quoted("ETag", "abc-2").optional("Owner", None).close();
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                    <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name><Prefix/>\
                    <MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>\
                    <Contents><Key>a&amp;b</Key><ETag>&quot;abc-2&quot;</ETag></Contents></ListBucketResult>";
    assert_eq!(xml.finish(), expected);
}

#[test]
fn an_error_has_no_namespace_and_what_is_open_is_closed() {
    let mut xml = XmlWriter::bare("Error", &[], 0);
    xml.text("Code", "NoSuchKey").open("Outer").open_with("Inner", &[("xsi:type", "a\"b<\n")]);
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
                    <Outer><Inner xsi:type=\"a&quot;b&lt;&#xa;\"></Inner></Outer></Error>";
    assert_eq!(xml.finish(), expected);
}

#[test]
fn characters_that_parsers_lose_become_references() {
    let mut xml = XmlWriter::bare("K", &[], 0);
    xml.text("T", "\u{1}\r\n\t\u{fffe}\u{ffff}\u{ff21}\u{7f}é").value("V", "<&>").close();
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                    <K><T>&#x1;&#xd;&#xa;&#x9;&#xfffe;&#xffff;\u{ff21}\u{7f}é</T><V>&lt;&amp;&gt;</V></K>";
    assert_eq!(xml.finish(), expected);
}

#[test]
fn closing_more_than_was_opened_changes_nothing() {
    let mut xml = XmlWriter::bare("A", &[], 0);
    xml.close().close();
    assert!(!xml.is_empty() && xml.len() > 10);
    assert!(xml.finish().ends_with(b"?>\n<A></A>"));
}

#[test]
fn url_encoding_keeps_the_unreserved_and_the_slash() {
    assert_eq!(url_encode("foo+1/bar baz~_-.*é"), "foo%2B1/bar%20baz~_-.%2A%C3%A9");
    assert_eq!(url_encode("quux ab/"), "quux%20ab/");
    assert_eq!(url_encode("\u{1}%"), "%01%25");
    assert_eq!(url_encode(""), "");
}

proptest! {
    #[test]
    fn what_is_written_reads_back(text in any::<String>(), attribute in any::<String>()) {
        let (text, attribute) = (text.replace('\0', ""), attribute.replace('\0', ""));
        let mut xml = XmlWriter::document("Root", 0);
        xml.open_with("A", &[("x", &attribute)]).text("T", &text).value("V", &text).close();
        let document = xml.finish();
        let root = read(&document).expect("well-formed");
        let element = root.required("A").expect("it is there");
        prop_assert_eq!(element.required_text("T"), Ok(text.as_str()));
        prop_assert_eq!(element.required_text("V"), Ok(text.as_str()));
        prop_assert_eq!(element.attribute("x"), Some(attribute.as_str()));
    }

    #[test]
    fn a_url_encoded_key_decodes_to_itself(key in any::<String>()) {
        let encoded = url_encode(&key);
        prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+'));
        prop_assert_eq!(percent_encoding::percent_decode_str(&encoded).decode_utf8(), Ok(key.as_str().into()));
    }
}
