use super::document::{parse, write};
use crate::{
    s3::{codes::S3Code, xml::read},
    storage::records::ReplicationRecord,
};

const ROLE: &str = "arn:aws:iam::root:role/s3-replication-role";
const TO: &str = "<Destination><Bucket>arn:aws:s3:::there</Bucket></Destination>";
const TAG: &str = "<Tag><Key>k</Key><Value>v</Value></Tag>";

fn configured(role: &str, rules: &str) -> Result<ReplicationRecord, S3Code> {
    let document = format!("<ReplicationConfiguration><Role>{role}</Role>{rules}</ReplicationConfiguration>");
    parse(&read::read(document.as_bytes()).unwrap(), &|name| matches!(name, "aws" | "azure")).map_err(|e| e.code)
}

fn refusal(rules: &str) -> Option<S3Code> {
    configured(ROLE, rules).err()
}

/// A rule of the first version of the schema.
fn first(prefix: &str, destination: &str) -> String {
    format!("<Rule><Status>Enabled</Status><Prefix>{prefix}</Prefix>{destination}</Rule>")
}

/// A rule of the second version, with more elements.
fn second(priority: u32, filter: &str, more: &str) -> String {
    format!(
        "<Rule><Status>Enabled</Status><Priority>{priority}</Priority><Filter>{filter}</Filter>\
         <DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>{more}</Rule>"
    )
}

fn to(inner: &str) -> String {
    format!("<Destination><Bucket>arn:aws:s3:::there</Bucket>{inner}</Destination>")
}

#[test]
fn what_is_written_reads_back_the_same() {
    let full = to("<Account>123456789012</Account><StorageClass>aws:preferred_read,azure</StorageClass>\
         <AccessControlTranslation><Owner>Destination</Owner></AccessControlTranslation>\
         <EncryptionConfiguration><ReplicaKmsKeyID>key</ReplicaKmsKeyID></EncryptionConfiguration>\
         <ReplicationTime><Status>Enabled</Status><Time><Minutes>15</Minutes></Time></ReplicationTime>\
         <Metrics><Status>Enabled</Status><EventThreshold><Minutes>15</Minutes></EventThreshold></Metrics>");
    let criteria = "<SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects>\
         <ReplicaModifications><Status>Disabled</Status></ReplicaModifications></SourceSelectionCriteria>\
         <ExistingObjectReplication><Status>Enabled</Status></ExistingObjectReplication>";
    for rules in [
        first("", TO),
        first("a&amp;/", &to("<StorageClass>STANDARD_IA</StorageClass>")) + &first("b", TO),
        second(1, "", &format!("{full}{criteria}"))
            + &second(2, "<Prefix>a</Prefix>", TO)
            + &second(3, TAG, TO)
            + &second(0, &format!("<And><Prefix/>{TAG}</And>"), TO),
    ] {
        let record = configured(ROLE, &rules).unwrap();
        let again = parse(&read::read(&write(&record)).unwrap(), &|_| true).unwrap();
        assert_eq!(again, record);
        assert!(record.rules.iter().all(|rule| rule.id.len() == 48));
    }
}

#[test]
fn a_role_is_one_or_two_resource_names() {
    let of = |role: &str| configured(role, &first("", TO)).err();
    let both = format!("{ROLE},{ROLE}");
    for good in [ROLE, &both, "arn:aws:iam::*:role/x", "arn:aws:iam::123456789012:role/a/b"] {
        assert_eq!(of(good), None, "{good}");
    }
    let three = format!("{both},{ROLE}");
    for bad in ["", "role", "arn:aws:iam::1:role/x", "arn:aws:iam::12:user/x", "arn:aws:s3:::x", &three] {
        assert_eq!(of(bad), Some(S3Code::InvalidArgument), "{bad}");
    }
    assert_eq!(refusal(""), Some(S3Code::MalformedXML));
}

#[test]
fn prefixes_of_the_first_schema_do_not_overlap_and_schemas_do_not_mix() {
    assert_eq!(refusal(&(first("a", TO) + &first("b", TO))), None);
    for (one, other) in [("", "b"), ("a", "ab"), ("ab", "a"), ("a", "a")] {
        let rules = first(one, TO) + &first("aa0", TO) + &first(other, TO);
        assert_eq!(refusal(&rules), Some(S3Code::InvalidRequest), "{one} {other}");
    }
    assert_eq!(refusal(&(first("a", TO) + &second(1, "", TO))), Some(S3Code::InvalidRequest));
    let marker = "<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>";
    assert_eq!(refusal(&first("a", &format!("{TO}{marker}"))), Some(S3Code::InvalidRequest));
}

#[test]
fn rules_of_the_second_schema_have_a_priority_of_their_own_and_say_what_happens_to_markers() {
    assert_eq!(refusal(&(second(1, "", TO) + &second(2, "", TO))), None);
    assert_eq!(refusal(&(second(1, "", TO) + &second(1, "", TO))), Some(S3Code::InvalidRequest));
    for missing in
        ["<Priority>1</Priority>", "<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>"]
    {
        assert_eq!(refusal(&second(1, "", TO).replace(missing, "")), Some(S3Code::InvalidRequest), "{missing}");
    }
    let tagged = second(1, TAG, TO).replace("Disabled", "Enabled");
    assert_eq!(refusal(&tagged), Some(S3Code::InvalidRequest));
    assert_eq!(refusal(&second(1, "", TO).replace(">1<", ">-1<")), Some(S3Code::InvalidArgument));
    for bad in ["<Prefix/><Prefix/>", &format!("<Prefix/>{TAG}"), "<And/>", "<And><Prefix/></And>", "<Size>1</Size>"] {
        assert_eq!(refusal(&second(1, bad, TO)), Some(S3Code::MalformedXML), "{bad}");
    }
}

#[test]
fn a_destination_is_a_bucket_and_perhaps_a_list_of_known_sites() {
    let class = |text: &str| refusal(&first("", &to(&format!("<StorageClass>{text}</StorageClass>"))));
    for good in ["STANDARD", "GLACIER_IR", "aws", "aws,azure", "aws:preferred_read,azure", "STANDARD,aws"] {
        assert_eq!(class(good), None, "{good}");
    }
    for bad in ["", "nowhere", "aws,", "aws,aws", "aws:preferred_read,azure:preferred_read", "aws:other"] {
        assert_eq!(class(bad), Some(S3Code::MalformedXML), "{bad}");
    }
    for bad in ["there", "arn:aws:s3:::", "arn:aws:s3:::A", "arn:aws:s3:::there/key"] {
        assert_eq!(refusal(&first("", &TO.replace("arn:aws:s3:::there", bad))), Some(S3Code::InvalidArgument), "{bad}");
    }
    assert_eq!(refusal(&first("", "")), Some(S3Code::MalformedXML));
}

#[test]
fn elements_that_need_each_other_come_together() {
    let override_ = "<AccessControlTranslation><Owner>Destination</Owner></AccessControlTranslation>";
    let time = "<ReplicationTime><Status>Enabled</Status><Time><Minutes>15</Minutes></Time></ReplicationTime>";
    let metrics = "<Metrics><Status>Enabled</Status></Metrics>";
    let key = "<EncryptionConfiguration><ReplicaKmsKeyID>key</ReplicaKmsKeyID></EncryptionConfiguration>";
    let kms = "<SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects>\
               </SourceSelectionCriteria>";
    for (inner, outer, expected) in [
        (override_.to_owned(), "", Some(S3Code::InvalidRequest)),
        (format!("<Account>1</Account>{override_}"), "", None),
        (time.to_owned(), "", Some(S3Code::InvalidRequest)),
        (format!("{time}{metrics}"), "", None),
        (format!("{time}{metrics}").replace("15", "16"), "", Some(S3Code::InvalidArgument)),
        (key.to_owned(), "", Some(S3Code::InvalidRequest)),
        (String::new(), kms, Some(S3Code::InvalidRequest)),
        (key.to_owned(), kms, None),
    ] {
        assert_eq!(refusal(&second(1, "", &format!("{}{outer}", to(&inner)))), expected, "{inner} {outer}");
    }
}

#[test]
fn there_are_a_thousand_rules_at_most_each_with_a_name_of_its_own() {
    let many = |count: u32| (0..count).map(|number| second(number, "", TO)).collect::<Vec<_>>().concat();
    assert_eq!((refusal(&many(1000)), refusal(&many(1001))), (None, Some(S3Code::MalformedXML)));
    let named = |number, id: &str| second(number, "", &format!("{TO}<ID>{id}</ID>"));
    assert_eq!(refusal(&(named(1, "a") + &named(2, "a"))), Some(S3Code::InvalidArgument));
    assert_eq!(refusal(&named(1, &"a".repeat(256))), Some(S3Code::InvalidArgument));
}
