//! The rules of the document, one by one.

use super::*;
use crate::s3::xml::read;

fn parsed(rules: &str) -> Result<Vec<LifecycleRule>, S3Code> {
    let document = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    parse(&read::read(document.as_bytes()).unwrap(), &|name| name == "cold").map_err(|e| e.code)
}

/// A rule with this scope and these actions.
fn rule(scope: &str, actions: &str) -> String {
    format!("<Rule><Status>Enabled</Status>{scope}{actions}</Rule>")
}

const DAYS: &str = "<Expiration><Days>9</Days></Expiration>";
const ALL: &str = "<Filter/>";
const TAG: &str = "<Tag><Key>k</Key><Value>v</Value></Tag>";

fn refusal(scope: &str, actions: &str) -> Option<S3Code> {
    parsed(&rule(scope, actions)).err()
}

#[test]
fn what_is_written_reads_back_the_same() {
    let and = format!(
        "<Filter><And><Prefix>a&amp;</Prefix>{TAG}<ObjectSizeGreaterThan>1</ObjectSizeGreaterThan>\
             <ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>"
    );
    let moves = "<Transition><Days>0</Days><StorageClass>GLACIER</StorageClass></Transition>\
             <Transition><Days>3</Days><StorageClass>cold</StorageClass></Transition>\
             <NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays>\
             <StorageClass>cold</StorageClass></NoncurrentVersionTransition>\
             <NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays>\
             <NewerNoncurrentVersions>5</NewerNoncurrentVersions></NoncurrentVersionExpiration>";
    let marker = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload>";
    let date = "<ID>d</ID><Expiration><Date>2017-09-27T00:00:00Z</Date></Expiration>";
    let rules = parsed(
        &[
            rule(&and, &format!("{moves}{DAYS}")),
            rule("<Prefix/>", marker),
            rule("<Filter><Prefix/></Filter>", date),
            rule(ALL, DAYS),
        ]
        .concat(),
    )
    .unwrap();
    let again = parse(&read::read(&write(&rules)).unwrap(), &|name| name == "cold").unwrap();
    assert_eq!(again, rules);
}

#[test]
fn a_filter_is_one_condition_or_an_and_of_several() {
    for good in [
        ALL.to_owned(),
        "<Filter><Prefix>a</Prefix></Filter>".to_owned(),
        format!("<Filter>{TAG}</Filter>"),
        "<Filter><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan></Filter>".to_owned(),
        format!("<Filter><And><Prefix>a</Prefix>{TAG}</And></Filter>"),
    ] {
        assert_eq!(refusal(&good, DAYS), None, "{good}");
    }
    for bad in [
        String::new(),
        "<Prefix/><Filter/>".to_owned(),
        "<Filter/><Filter/>".to_owned(),
        format!("<Filter><Prefix>a</Prefix>{TAG}</Filter>"),
        format!("<Filter>{TAG}{TAG}</Filter>"),
        format!("<Filter><Prefix>a</Prefix><And>{TAG}{TAG}</And></Filter>"),
        "<Filter><And/></Filter>".to_owned(),
        "<Filter><And><Prefix>a</Prefix></And></Filter>".to_owned(),
        "<Filter><Size>1</Size></Filter>".to_owned(),
    ] {
        assert_eq!(refusal(&bad, DAYS), Some(S3Code::MalformedXML), "{bad}");
    }
    let long = format!("<Prefix>{}</Prefix>", "a".repeat(1025));
    for bad in [
        format!("<Filter><And>{TAG}{TAG}</And></Filter>"),
        "<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan>\
             <ObjectSizeLessThan>6</ObjectSizeLessThan></And></Filter>"
            .to_owned(),
        long,
    ] {
        assert_eq!(refusal(&bad, DAYS), Some(S3Code::InvalidRequest), "{bad}");
    }
}

#[test]
fn an_expiration_is_days_or_a_midnight_or_about_markers() {
    let refused = |inner: &str| refusal(ALL, &format!("<Expiration>{inner}</Expiration>"));
    assert_eq!(refused("<Date>2017-09-27T00:00:00.000Z</Date>"), None);
    assert_eq!(refused("<Date>2017-09-27</Date>"), None);
    assert_eq!(refused("<ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker>"), None);
    for bad in ["", "<Days>1</Days><Date>2017-09-27</Date>", "<Days>x</Days>", "<Date>20170927</Date>"] {
        assert_eq!(refused(bad), Some(S3Code::MalformedXML), "{bad}");
    }
    for bad in ["<Days>0</Days>", "<Days>-1</Days>", "<Date>2017-09-27T00:00:01Z</Date>"] {
        assert_eq!(refused(bad), Some(S3Code::InvalidArgument), "{bad}");
    }
}

#[test]
fn names_are_short_and_unique_and_given_where_missing() {
    let named = |id: &str| rule(&format!("<ID>{id}</ID>{ALL}"), DAYS);
    assert_eq!(parsed(&named(&"a".repeat(256))).err(), Some(S3Code::InvalidArgument));
    assert_eq!(parsed(&(named("a") + &named("a"))).err(), Some(S3Code::InvalidArgument));
    let same = rule(ALL, DAYS);
    let given: Vec<_> = parsed(&(same.clone() + &same)).unwrap().into_iter().map(|rule| rule.id).collect();
    assert!(given.iter().all(|id| id.len() == 48) && given.first() != given.last(), "{given:?}");
    let again: Vec<_> = parsed(&(same.clone() + &same)).unwrap().into_iter().map(|rule| rule.id).collect();
    assert_eq!(given, again);
}

#[test]
fn there_are_a_thousand_rules_at_most_and_each_does_something() {
    assert_eq!(parsed(""), Err(S3Code::MalformedXML));
    assert_eq!(parsed(&rule(ALL, DAYS).repeat(1000)).map(|rules| rules.len()), Ok(1000));
    assert_eq!(parsed(&rule(ALL, DAYS).repeat(1001)), Err(S3Code::MalformedXML));
    assert_eq!(refusal(ALL, ""), Some(S3Code::InvalidRequest));
    let status = |text: &str| parsed(&format!("<Rule><Status>{text}</Status>{ALL}{DAYS}</Rule>")).err();
    assert_eq!((status("Disabled"), status("enabled")), (None, Some(S3Code::MalformedXML)));
}

#[test]
fn objects_move_before_they_expire_and_to_each_class_once() {
    let moves =
        |days: &str, class: &str| format!("<Transition>{days}<StorageClass>{class}</StorageClass></Transition>");
    let on = |days: u32, class: &str| moves(&format!("<Days>{days}</Days>"), class);
    let cases = [
        (on(8, "GLACIER"), None),
        (on(9, "GLACIER"), Some(S3Code::InvalidArgument)),
        (on(1, "STANDARD_IA"), Some(S3Code::InvalidArgument)),
        (on(1, "STANDARD"), Some(S3Code::MalformedXML)),
        (on(1, "cold") + &on(2, "cold"), Some(S3Code::InvalidRequest)),
        (moves("<Date>2017-09-27</Date>", "cold"), Some(S3Code::InvalidRequest)),
        (moves("", "cold"), Some(S3Code::MalformedXML)),
    ];
    for (action, expected) in cases {
        assert_eq!(refusal(ALL, &format!("{action}{DAYS}")), expected, "{action}");
    }
}

#[test]
fn objects_move_down_and_stay_thirty_days_where_that_is_paid_for() {
    let moves = |list: &[(u32, &str)], element: &str, days: &str| {
        let one = |(number, class): &(u32, &str)| {
            format!("<{element}><{days}>{number}</{days}><StorageClass>{class}</StorageClass></{element}>")
        };
        refusal(ALL, &list.iter().map(one).collect::<Vec<_>>().concat())
    };
    for (element, days) in [("Transition", "Days"), ("NoncurrentVersionTransition", "NoncurrentDays")] {
        let refused = |list: &[(u32, &str)]| moves(list, element, days);
        assert_eq!(refused(&[(30, "STANDARD_IA"), (60, "GLACIER"), (61, "DEEP_ARCHIVE")]), None);
        assert_eq!(refused(&[(60, "GLACIER"), (30, "STANDARD_IA"), (0, "cold")]), None);
        let bad = Some(S3Code::InvalidArgument);
        assert_eq!(refused(&[(30, "STANDARD_IA"), (59, "GLACIER")]), bad);
        assert_eq!(refused(&[(40, "STANDARD_IA"), (10, "DEEP_ARCHIVE")]), bad);
        assert_eq!(refused(&[(5, "GLACIER"), (5, "DEEP_ARCHIVE")]), bad);
    }
}

#[test]
fn markers_and_uploads_have_neither_tags_nor_sizes() {
    let marker = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload>";
    let size = "<Filter><ObjectSizeLessThan>5</ObjectSizeLessThan></Filter>".to_owned();
    for scope in [format!("<Filter>{TAG}</Filter>"), size] {
        for action in [marker, abort] {
            assert_eq!(refusal(&scope, action), Some(S3Code::InvalidRequest), "{scope} {action}");
        }
    }
    let keep = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
             <NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>";
    assert_eq!((refusal(ALL, keep), refusal("<Prefix/>", keep)), (None, Some(S3Code::InvalidRequest)));
}
