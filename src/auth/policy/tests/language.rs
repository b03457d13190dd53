//! The language: what is read, what is refused, whom and what a statement is about.

use super::*;

fn refusal(change: Value) -> PolicyError {
    parse(&statement(change)).unwrap_err()
}

#[test]
fn whatever_is_not_known_is_refused() {
    for (change, error) in [
        (json!({"Effect": "allow"}), PolicyError::Effect),
        (json!({"Effect": null}), PolicyError::Effect),
        (json!({"Effect": ["Allow"]}), PolicyError::Effect),
        (json!({"Efect": "Allow"}), PolicyError::Element("its elements")),
        (json!({"Principal": null}), PolicyError::Element("Principal")),
        (json!({"NotPrincipal": "*"}), PolicyError::Element("Principal")),
        (json!({"Principal": null, "NotPrincipal": {"AWS": LISA}}), PolicyError::AllowNotPrincipal),
        (json!({"Principal": "123456789013"}), PolicyError::Principal),
        (json!({"Principal": {}}), PolicyError::Principal),
        (json!({"Principal": {"AWS": []}}), PolicyError::Principal),
        (json!({"Principal": {"AWS": "12345"}}), PolicyError::Principal),
        (json!({"Principal": {"AWS": "arn:aws:iam::123456789013:*"}}), PolicyError::Principal),
        (json!({"Principal": {"AWS": "arn:aws:iam::*:root"}}), PolicyError::Principal),
        (json!({"Principal": {"AWS": "arn:aws:s3:::photos"}}), PolicyError::Principal),
        (json!({"Principal": {"Somebody": "*"}}), PolicyError::Principal),
        (json!({"Action": "s3:GetObjects"}), PolicyError::Action),
        (json!({"Action": "s3:Fly*"}), PolicyError::Action),
        (json!({"Action": "iam:CreateUser"}), PolicyError::Action),
        (json!({"Action": []}), PolicyError::Action),
        (json!({"NotAction": "s3:PutObject"}), PolicyError::Element("Action")),
        (json!({"Resource": "*"}), PolicyError::Resource),
        (json!({"Resource": "arn:aws:s3:::"}), PolicyError::Resource),
        (json!({"Resource": "arn:aws:s3:::other/*"}), PolicyError::Resource),
        (json!({"Resource": "arn:aws:s3:::photo"}), PolicyError::Resource),
        (json!({"Resource": "arn:aws:s3:::${aws:username}/*"}), PolicyError::Resource),
        (json!({"Resource": "arn:aws:s3:::photos/${nobody:knows}"}), PolicyError::Resource),
        (json!({"Resource": ["arn:aws:s3:::photos", "arn:aws:s3:::photos2"]}), PolicyError::Resource),
        (json!({"Condition": {"StringIs": {"s3:prefix": "a"}}}), PolicyError::Operator),
        (json!({"Condition": {"ForSomeValues:StringEquals": {"s3:prefix": "a"}}}), PolicyError::Operator),
        (json!({"Condition": {"NullIfExists": {"s3:prefix": "true"}}}), PolicyError::Operator),
        (json!({"Condition": {"StringEquals": {"s3:prefx": "a"}}}), PolicyError::ConditionKey),
        (json!({"Condition": {"StringEquals": {"s3:ExistingObjectTag/": "a"}}}), PolicyError::ConditionKey),
        (json!({"Condition": {"NumericEquals": {"s3:max-keys": "ten"}}}), PolicyError::ConditionValue),
        (json!({"Condition": {"DateLessThan": {"aws:CurrentTime": "soon"}}}), PolicyError::ConditionValue),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}}), PolicyError::ConditionValue),
        (json!({"Condition": {"Bool": {"aws:SecureTransport": "yes"}}}), PolicyError::ConditionValue),
        (json!({"Condition": {"BinaryEquals": {"s3:prefix": "*"}}}), PolicyError::ConditionValue),
        (json!({"Condition": {"ArnLike": {"aws:PrincipalArn": "*"}}}), PolicyError::ConditionValue),
        (json!({"Condition": {"StringEquals": {"s3:prefix": []}}}), PolicyError::ConditionValue),
        (json!({"Condition": {"StringEquals": {"s3:prefix": "${who}"}}}), PolicyError::ConditionValue),
        (json!({"Condition": {"StringEquals": "a"}}), PolicyError::Element("Condition")),
        (json!({"Sid": 1}), PolicyError::Element("Sid")),
    ] {
        assert_eq!(refusal(change.clone()), error, "{change}");
    }
}

#[test]
fn the_document_has_a_version_and_a_statement() {
    let whole = statement(json!({}));
    let with = |name: &str, value: Value| {
        let mut document = whole.clone();
        document[name] = value;
        parse(&document).map(|_| ()).map_err(|e| e.to_string())
    };
    for version in ["2012-10-17", "2008-10-17"] {
        assert_eq!(with("Version", json!(version)), Ok(()));
    }
    assert!(with("Version", json!("2026-11-22")).is_err());
    assert!(with("Version", json!(2012)).is_err());
    assert!(with("Id", json!("a name")).is_ok());
    assert!(with("Id", json!(1)).is_err());
    assert!(with("More", json!("a")).is_err());
    for bad in [json!([]), json!("a"), json!(null), json!([1])] {
        assert!(with("Statement", bad.clone()).is_err(), "{bad}");
    }
    // One statement need not be a list.
    assert!(with("Statement", whole["Statement"][0].clone()).is_ok());
    assert!(with("Statement", json!([whole["Statement"][0], whole["Statement"][0]])).is_ok());
}

#[test]
fn bytes_that_are_no_policy_are_refused() {
    let bucket = BucketName::new(BUCKET).unwrap();
    let whole = statement(json!({})).to_string();
    let error = |text: &str| Policy::parse(text.as_bytes(), &bucket).map(|_| ()).unwrap_err();
    for bad in ["", "[]", "null", "\"a\"", "{", &format!("{whole}x"), &format!("{whole}{whole}")] {
        assert_eq!(error(bad), PolicyError::Json, "{bad}");
    }
    // Readers disagree on which of two counts: neither does.
    let twice = whole.replacen("\"Effect\":\"Allow\"", "\"Effect\":\"Deny\",\"Effect\":\"Allow\"", 1);
    assert_ne!(twice, whole);
    assert_eq!(error(&twice), PolicyError::Json);
    assert_eq!(error(&format!("{whole}{}", " ".repeat(20 << 10))), PolicyError::TooLong);
    assert_eq!(error(&"[".repeat(10_000)), PolicyError::Json);
    assert!(Policy::parse(b"\xff{}", &bucket).is_err());
}

#[test]
fn a_principal_is_everybody_an_account_or_a_canonical_id() {
    let bart = account("123456789012");
    let lisa = account(LISA);
    let user = Principal {
        user: Some(Arc::from("ned")),
        arn: Arc::from("arn:aws:iam::123456789013:user/ned"),
        ..lisa.clone()
    };
    let nobody = Principal::anonymous();
    for (principal, expected) in [
        (json!("*"), [true, true, true, true]),
        (json!({"AWS": "*"}), [true, true, true, true]),
        (json!({"AWS": LISA}), [false, true, false, false]),
        (json!({"AWS": "arn:aws:iam::123456789013:root"}), [false, true, false, false]),
        // An account that has no such user stands for it.
        (json!({"AWS": "arn:aws:iam::123456789013:user/ned"}), [false, true, true, false]),
        (json!({"AWS": "arn:aws:iam::123456789013:user/moe"}), [false, true, false, false]),
        (json!({"AWS": ["123456789012", "123456789013"]}), [true, true, false, false]),
        (json!({"AWS": "arn:aws:iam::s3tenant1:root"}), [false, false, false, false]),
        (json!({"CanonicalUser": "canonical-123456789013"}), [false, true, false, false]),
        (json!({"CanonicalUser": nobody.account.as_str()}), [false, false, false, false]),
        (json!({"Service": "logging.s3.amazonaws.com"}), [false, false, false, false]),
        (json!({"Federated": "cognito-identity.amazonaws.com"}), [false, false, false, false]),
        (json!({"Service": "a", "AWS": LISA}), [false, true, false, false]),
    ] {
        let policy = parse(&statement(json!({"Principal": principal}))).unwrap();
        let found = [&bart, &lisa, &user, &nobody]
            .map(|caller| says(&policy, caller, Action::GetObject, "a", &Told::default()) == Verdict::Allow);
        assert_eq!(found, expected, "{principal}");
    }
    // A denial of an account is one of its users; whoever is spared by name is spared alone.
    let denied = |change: Value| {
        let policy = parse(&statement(change)).unwrap();
        [&bart, &lisa, &user, &nobody]
            .map(|caller| says(&policy, caller, Action::GetObject, "a", &Told::default()) == Verdict::Deny)
    };
    assert_eq!(denied(json!({"Effect": "Deny", "Principal": {"AWS": LISA}})), [false, true, true, false]);
    let spared = json!({"Effect": "Deny", "Principal": null, "NotPrincipal": {"AWS": LISA}});
    assert_eq!(denied(spared), [true, false, true, true]);
    let spared = json!({"Effect": "Deny", "Principal": null, "NotPrincipal": {"Service": "a"}});
    assert_eq!(denied(spared), [true; 4]);
}

#[test]
fn actions_have_wildcards_and_no_case() {
    let allows = |change: Value, action: Action| {
        let change = statement(change);
        says(&parse(&change).unwrap(), &account(LISA), action, "a", &Told::default()) == Verdict::Allow
    };
    for (name, action, expected) in [
        ("s3:GetObject", Action::GetObject, true),
        ("S3:getobject", Action::GetObject, true),
        ("s3:GetObject", Action::GetObjectVersion, false),
        ("s3:GetObject*", Action::GetObjectVersion, true),
        ("s3:Get*", Action::PutObject, false),
        ("s3:?etObject", Action::GetObject, true),
        ("s3:*Object", Action::DeleteObject, true),
        ("s3:*", Action::PutObjectAcl, true),
        ("*", Action::PutObjectAcl, true),
        ("s3:ReplicateObject", Action::PutObject, false),
    ] {
        assert_eq!(allows(json!({"Action": name}), action), expected, "{name} {action}");
        assert_eq!(allows(json!({"Action": null, "NotAction": name}), action), !expected, "not {name} {action}");
    }
    assert!(allows(json!({"Action": ["s3:PutObject", "s3:GetObject"]}), Action::GetObject));
}

#[test]
fn resources_are_the_bucket_its_keys_and_patterns_of_them() {
    let allows = |change: Value, key: &str, facts: &Told| {
        let policy = parse(&statement(change)).unwrap();
        says(&policy, &account(LISA), Action::GetObject, key, facts) == Verdict::Allow
    };
    let none = Told::default();
    for (name, key, expected) in [
        ("photos", "", true),
        ("photos", "a", false),
        ("photos/*", "", false),
        ("photos/*", "a/b", true),
        ("photos*", "a", true),
        ("photos*", "", true),
        ("*", "a", true),
        ("*/*", "a", true),
        ("pho?os/a", "a", true),
        ("photos/a?c", "abc", true),
        ("photos/a?c", "aäc", true),
        ("photos/a?c", "ac", false),
        ("photos/a*c*e", "abcde", true),
        ("photos/a*c*e", "abcdef", false),
        ("photos/A", "a", false),
        ("photos/${*}", "*", true),
        ("photos/${*}", "a", false),
        ("photos/${?}${$}", "?$", true),
    ] {
        let resource = format!("arn:aws:s3:::{name}");
        assert_eq!(allows(json!({"Resource": resource}), key, &none), expected, "{name} {key}");
        let negated = json!({"Resource": null, "NotResource": resource});
        assert_eq!(allows(negated, key, &none), !expected, "not {name} {key}");
    }
}

#[test]
fn variables_stand_for_facts_and_for_nothing_else() {
    let home = json!({"Resource": "arn:aws:s3:::photos/home/${aws:username}/*"});
    let policy = parse(&statement(home.clone())).unwrap();
    let reads = |policy: &Policy, key: &str, facts: &[(&str, &[&str])]| {
        says(policy, &account(LISA), Action::GetObject, key, &told(facts)) == Verdict::Allow
    };
    assert!(reads(&policy, "home/ned/a", &[("aws:username", &["ned"])]));
    assert!(!reads(&policy, "home/moe/a", &[("aws:username", &["ned"])]));
    // A name with wildcards in it is a name.
    assert!(!reads(&policy, "home/moe/a", &[("aws:username", &["*"])]));
    assert!(!reads(&policy, "home//a", &[]));
    assert!(!reads(&policy, "home/ned/a", &[("aws:username", &["ned", "moe"])]));
    // Absence allows nothing, not even by negation.
    let not_home = json!({"Resource": null, "NotResource": "arn:aws:s3:::photos/home/${aws:username}/*"});
    let policy = parse(&statement(not_home)).unwrap();
    assert!(!reads(&policy, "a", &[]));
    assert!(reads(&policy, "a", &[("aws:username", &["ned"])]));
    let other = json!({"Condition": {"StringNotEquals": {"aws:userid": "${aws:username}"}}});
    let policy = parse(&statement(other)).unwrap();
    assert!(!reads(&policy, "a", &[("aws:userid", &["x"])]));
    // A default steps in, and the older language has no variables.
    let public = json!({"Resource": "arn:aws:s3:::photos/${aws:username, 'public'}/*"});
    let policy = parse(&statement(public)).unwrap();
    assert!(reads(&policy, "public/a", &[]));
    assert!(!reads(&policy, "public/a", &[("aws:username", &["ned"])]));
    let mut old = statement(home);
    old["Version"] = json!("2008-10-17");
    let policy = parse(&old).unwrap();
    assert!(reads(&policy, "home/${aws:username}/a", &[("aws:username", &["ned"])]));
    assert!(!reads(&policy, "home/ned/a", &[("aws:username", &["ned"])]));
}

#[test]
fn a_denial_wins_wherever_it_stands() {
    let allow = statement(json!({}))["Statement"][0].clone();
    let deny = statement(json!({"Effect": "Deny", "Resource": "arn:aws:s3:::photos/secret/*"}))["Statement"][0].clone();
    for order in [json!([allow, deny]), json!([deny, allow])] {
        let policy = parse(&json!({"Version": "2012-10-17", "Statement": order})).unwrap();
        let ask = |key: &str, action| says(&policy, &account(LISA), action, key, &Told::default());
        assert_eq!(ask("open", Action::GetObject), Verdict::Allow);
        assert_eq!(ask("secret/a", Action::GetObject), Verdict::Deny);
        assert_eq!(ask("open", Action::PutObject), Verdict::Silent);
    }
}

#[test]
fn a_policy_that_cannot_be_read_denies_everything() {
    for action in Action::ALL.iter().copied() {
        for key in ["", "a"] {
            assert_eq!(says(&Policy::closed(), &account(LISA), action, key, &Told::default()), Verdict::Deny);
        }
    }
}
