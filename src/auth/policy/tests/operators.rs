//! Conditions: each operator, with values, without, and with several.

use super::*;

/// Operator, key, values of the policy, value of the request, whether it is met.
type Case = (&'static str, &'static str, &'static [&'static str], &'static str, bool);

const CASES: &[Case] = &[
    ("StringEquals", "s3:prefix", &["a", "b"], "b", true),
    ("StringEquals", "s3:prefix", &["a", "b"], "B", false),
    ("StringEquals", "s3:prefix", &["*"], "a", false),
    ("StringEquals", "s3:prefix", &["*"], "*", true),
    ("StringNotEquals", "s3:prefix", &["a", "b"], "b", false),
    ("StringNotEquals", "s3:prefix", &["a", "b"], "c", true),
    ("StringEqualsIgnoreCase", "s3:prefix", &["Ab"], "aB", true),
    ("StringNotEqualsIgnoreCase", "s3:prefix", &["Ab"], "aB", false),
    ("StringLike", "s3:prefix", &["home/*"], "home/", true),
    ("StringLike", "s3:prefix", &["home/?"], "home/", false),
    ("StringNotLike", "s3:prefix", &["home/*"], "homes", true),
    ("ArnLike", "aws:PrincipalArn", &["arn:aws:iam::*:root"], "arn:aws:iam::123456789013:root", true),
    ("ArnEquals", "aws:PrincipalArn", &["arn:aws:iam::*:root"], "arn:aws:iam::123456789013:root", true),
    ("ArnLike", "aws:PrincipalArn", &["arn:aws:*:root::"], "arn:aws:iam::123456789013:root", false),
    ("ArnNotLike", "aws:PrincipalArn", &["arn:aws:iam::1*:root"], "arn:aws:iam::123456789013:root", false),
    ("NumericEquals", "s3:max-keys", &["10"], "10.0", true),
    ("NumericNotEquals", "s3:max-keys", &["10"], "11", true),
    ("NumericLessThan", "s3:max-keys", &["10"], "9", true),
    ("NumericLessThan", "s3:max-keys", &["10"], "10", false),
    ("NumericLessThanEquals", "s3:max-keys", &["10"], "10", true),
    ("NumericGreaterThan", "s3:max-keys", &["10"], "9", false),
    ("NumericGreaterThanEquals", "s3:max-keys", &["10"], "10", true),
    ("DateLessThan", "aws:CurrentTime", &["2026-11-22T00:00:00Z"], "2026-11-21T23:59:59.000Z", true),
    ("DateGreaterThan", "aws:CurrentTime", &["2026-11-22"], "2026-11-22T00:00:00.000Z", false),
    ("DateGreaterThanEquals", "aws:CurrentTime", &["2026-11-22T01:00:00+01:00"], "2026-11-22T00:00:00.000Z", true),
    ("DateEquals", "aws:EpochTime", &["2001-09-09T01:46:40Z"], "1000000000", true),
    ("DateNotEquals", "aws:EpochTime", &["1000000000"], "1000000000", false),
    ("DateLessThanEquals", "aws:EpochTime", &["1000000000"], "1000000000", true),
    ("Bool", "aws:SecureTransport", &["true"], "true", true),
    ("Bool", "aws:SecureTransport", &["TRUE"], "false", false),
    ("BinaryEquals", "s3:prefix", &["YWI="], "ab", true),
    ("BinaryEquals", "s3:prefix", &["YWI="], "YWI=", false),
    ("IpAddress", "aws:SourceIp", &["10.0.0.0/8", "::1"], "10.9.8.7", true),
    ("IpAddress", "aws:SourceIp", &["10.0.0.0/8"], "::ffff:10.9.8.7", true),
    ("IpAddress", "aws:SourceIp", &["10.0.0.0/8", "::1"], "::1", true),
    ("IpAddress", "aws:SourceIp", &["::ffff:10.0.0.0/104"], "10.9.8.7", true),
    ("IpAddress", "aws:SourceIp", &["::ffff:10.0.0.1"], "10.0.0.1", true),
    ("IpAddress", "aws:SourceIp", &["::ffff:10.0.0.0/104"], "11.0.0.1", false),
    ("NotIpAddress", "aws:SourceIp", &["::ffff:10.0.0.0/104"], "10.9.8.7", false),
    ("IpAddress", "aws:SourceIp", &["10.0.0.1"], "10.0.0.2", false),
    ("NotIpAddress", "aws:SourceIp", &["10.0.0.0/8"], "11.0.0.0", true),
    ("NotIpAddress", "aws:SourceIp", &["2001:db8::/32"], "2001:db8::1", false),
];

#[test]
fn each_operator_compares_as_its_name_says() {
    for (operator, key, values, value, expected) in CASES {
        for name in [(*operator).to_owned(), format!("{operator}IfExists"), format!("ForAnyValue:{operator}")] {
            let condition = json!({&name: {*key: values}});
            assert_eq!(met(&condition, &[(key, &[value])]), *expected, "{name} {values:?} {value}");
        }
    }
    let negations = CASES.iter().filter(|(operator, ..)| operator.contains("Not")).count();
    assert!(negations >= 6 && CASES.len() - negations >= 20);
}

#[test]
fn without_a_value_positive_operators_fail_and_negated_ones_hold() {
    for (operator, key, values, ..) in CASES {
        let with = |name: String| met(&json!({name: {*key: values}}), &[]);
        assert_eq!(with((*operator).to_owned()), operator.contains("Not"), "{operator}");
        assert!(with(format!("{operator}IfExists")), "{operator}");
        assert!(with(format!("ForAllValues:{operator}")), "{operator}");
        assert!(!with(format!("ForAnyValue:{operator}")), "{operator}");
        assert!(with(format!("ForAnyValue:{operator}IfExists")), "{operator}");
    }
}

#[test]
fn null_asks_whether_there_is_a_value() {
    let null = |text: &str| json!({"Null": {"s3:x-amz-server-side-encryption": text}});
    let there: &[(&str, &[&str])] = &[("s3:x-amz-server-side-encryption", &["AES256"])];
    assert!(met(&null("true"), &[]) && !met(&null("false"), &[]));
    assert!(!met(&null("true"), there) && met(&null("false"), there));
}

/// Partly overlapping sets, where all, some and none differ, and negation differs from both.
#[test]
fn quantifiers_count_the_values_of_the_request() {
    let key = "s3:RequestObjectTagKeys";
    let allowed = &["a", "b"];
    for (given, all, any, none, some_not) in [
        (&["a"][..], true, true, false, false),
        (&["a", "b"], true, true, false, false),
        (&["a", "c"], false, true, false, true),
        (&["c", "d"], false, false, true, true),
        (&[], true, false, true, false),
    ] {
        let with = |name: &str| met(&json!({name: {key: allowed}}), &[(key, given)]);
        assert_eq!(with("ForAllValues:StringEquals"), all, "{given:?}");
        assert_eq!(with("ForAnyValue:StringEquals"), any, "{given:?}");
        assert_eq!(with("ForAllValues:StringNotEquals"), none, "{given:?}");
        assert_eq!(with("ForAnyValue:StringNotEquals"), some_not, "{given:?}");
        // Unquantified, an Allow wants all of them.
        assert_eq!(with("StringEquals"), all && !given.is_empty(), "{given:?}");
        assert_eq!(with("StringNotEquals"), none, "{given:?}");
    }
    // Unquantified, one is enough for a Deny.
    let deny = statement(json!({"Effect": "Deny", "Condition": {"StringEquals": {key: allowed}}}));
    let policy = parse(&deny).unwrap();
    let says = |given: &[&str]| says(&policy, &account(LISA), Action::GetObject, "a", &told(&[(key, given)]));
    assert_eq!(says(&["a", "c"]), Verdict::Deny);
    assert_eq!(says(&["c"]), Verdict::Silent);
}

#[test]
fn what_cannot_be_compared_fails_an_allow_and_meets_a_deny() {
    for (operator, key, value) in [
        ("NumericLessThan", "s3:max-keys", "1000"),
        ("NumericNotEquals", "s3:max-keys", "1000"),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8"),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8"),
        ("DateLessThan", "aws:CurrentTime", "2026-11-22"),
        ("Bool", "aws:SecureTransport", "true"),
    ] {
        let condition = json!({operator: {key: value}});
        let facts = told(&[(key, &["neither here nor there"])]);
        let ask = |effect: &str| {
            let policy = parse(&statement(json!({"Effect": effect, "Condition": &condition}))).unwrap();
            says(&policy, &account(LISA), Action::GetObject, "a", &facts)
        };
        assert_eq!((ask("Allow"), ask("Deny")), (Verdict::Silent, Verdict::Deny), "{operator}");
    }
}

#[test]
fn all_lines_of_a_condition_must_hold() {
    let condition = json!({
        "StringLike": {"s3:prefix": "home/*", "s3:delimiter": "/"},
        "NumericLessThan": {"s3:max-keys": 100},
    });
    let with = |prefix, delimiter, keys| {
        met(&condition, &[("s3:prefix", &[prefix]), ("s3:delimiter", &[delimiter]), ("s3:max-keys", &[keys])])
    };
    assert!(with("home/a", "/", "99"));
    assert!(!with("home", "/", "99") && !with("home/a", "-", "99") && !with("home/a", "/", "100"));
}

#[test]
fn keys_have_no_case_but_tags_do() {
    assert!(met(&json!({"StringEquals": {"S3:PREFIX": "a"}}), &[("s3:prefix", &["a"])]));
    assert!(!met(&json!({"StringEquals": {"s3:ExistingObjectTag/A": "x"}}), &[("s3:existingobjecttag/a", &["x"])]));
}

#[test]
fn what_an_upload_settled_is_not_asked_of_its_parts() {
    #[derive(Debug)]
    struct Part;
    impl Facts for Part {
        fn values(&self, _: &ConditionKey) -> Vec<String> {
            Vec::new()
        }
        fn settled(&self, key: &ConditionKey) -> bool {
            key.is_said_at_initiation()
        }
    }
    let bucket = BucketName::new(BUCKET).unwrap();
    let key = ObjectKey::new("a").unwrap();
    let ask = |effect: &str, condition: Value| {
        let policy = parse(&statement(json!({"Effect": effect, "Action": "s3:PutObject", "Condition": condition})));
        policy.unwrap().decide(&Question {
            principal: &account(LISA),
            action: Action::PutObject,
            resource: Resource::Object(&bucket, &key),
            facts: &Part,
        })
    };
    let unencrypted = json!({"Null": {"s3:x-amz-server-side-encryption": "true"}});
    assert_eq!(ask("Deny", unencrypted), Verdict::Silent);
    let with_list = json!({"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}});
    assert_eq!(ask("Allow", with_list), Verdict::Allow);
    let insecure = json!({"StringNotEquals": {"aws:Referer": "a"}});
    assert_eq!(ask("Deny", insecure), Verdict::Deny);
}
