//! The evaluator against a naive one, which reads the JSON anew at each question and knows nothing of the other.

use proptest::{
    prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest},
    sample::{select, subsequence},
};

use super::*;

const ACTIONS: [(Action, bool); 5] = [
    (Action::GetObject, true),
    (Action::GetObjectVersion, true),
    (Action::PutObject, true),
    (Action::ListBucket, false),
    (Action::PutBucketPolicy, false),
];
const KEYS: [&str; 5] = ["a", "home/a", "home/b/c", "*", "ä?"];
const NUMBERS: [&str; 3] = ["", "123456789012", LISA];

#[derive(Clone, Debug)]
struct Request {
    caller: &'static str,
    action: Action,
    key: &'static str,
    facts: Vec<(&'static str, Vec<&'static str>)>,
}

fn request() -> impl Strategy<Value = Request> {
    let facts = (
        subsequence(vec!["a", "home/", "home/x"], 0..=1),
        subsequence(vec!["ned", "*", "moe"], 0..=1),
        subsequence(vec!["1", "10", "x"], 0..=1),
        subsequence(vec!["10.0.0.1", "192.168.0.1", "::1"], 0..=1),
        subsequence(vec!["red", "blue", "green"], 0..=3),
    );
    (select(&NUMBERS[..]), select(&ACTIONS[..]), select(&KEYS[..]), facts).prop_map(
        |(caller, (action, of_object), key, (prefix, user, max, ip, tags))| Request {
            caller,
            action,
            key: if of_object { key } else { "" },
            facts: vec![
                ("s3:prefix", prefix),
                ("aws:username", user),
                ("s3:max-keys", max),
                ("aws:SourceIp", ip),
                ("s3:RequestObjectTagKeys", tags),
            ],
        },
    )
}

fn one_or_many(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![select(names).prop_map(|name| json!(name)), subsequence(names, 1..=3).prop_map(|names| json!(names))]
}

fn condition() -> impl Strategy<Value = Value> {
    let text =
        select(&["StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase"][..]);
    let quantified = (select(&["", "ForAllValues:", "ForAnyValue:"][..]), text, select(&["", "IfExists"][..]))
        .prop_map(|(quantifier, operator, suffix)| format!("{quantifier}{operator}{suffix}"));
    let texts = one_or_many(&["a", "home/*", "${aws:username}", "RED", "red", "blue", "*", "?ed"]);
    let of_text = (quantified, select(&["s3:prefix", "s3:RequestObjectTagKeys", "aws:username"][..]), texts)
        .prop_map(|(operator, key, values)| json!({operator: {key: values}}));
    let number = select(&["NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericGreaterThanEquals"][..]);
    let of_number = (number, one_or_many(&["1", "10", "5"]))
        .prop_map(|(operator, values)| json!({operator: {"s3:max-keys": values}}));
    let ip = select(&["IpAddress", "NotIpAddress", "IpAddressIfExists", "NotIpAddressIfExists"][..]);
    let of_ip = (ip, one_or_many(&["10.0.0.0/8", "192.168.0.1", "::/0"]))
        .prop_map(|(operator, values)| json!({operator: {"aws:SourceIp": values}}));
    let of_null = (any::<bool>(), select(&["s3:prefix", "aws:username"][..]))
        .prop_map(|(expected, key)| json!({"Null": {key: expected.to_string()}}));
    prop_oneof![4 => of_text, 1 => of_number, 1 => of_ip, 1 => of_null]
}

fn any_statement() -> impl Strategy<Value = Value> {
    let principal = prop_oneof![
        3 => Just(json!("*")),
        2 => one_or_many(&["*", "123456789012", "arn:aws:iam::123456789013:root", "arn:aws:iam::123456789013:user/a"])
            .prop_map(|names| json!({"AWS": names})),
        1 => Just(json!({"Service": "s3.amazonaws.com"})),
        1 => Just(json!({"CanonicalUser": "canonical-123456789013"})),
    ];
    let actions = one_or_many(&["s3:GetObject", "s3:GetObject*", "s3:*", "s3:ListBucket", "s3:Put*", "*"]);
    let resources = one_or_many(&[
        "arn:aws:s3:::photos",
        "arn:aws:s3:::photos/*",
        "arn:aws:s3:::photos/home/*",
        "arn:aws:s3:::photos/?",
        "arn:aws:s3:::*",
        "arn:aws:s3:::photos/home/${aws:username, 'b'}/*",
        "arn:aws:s3:::photos/${s3:prefix}",
    ]);
    let conditions = proptest::collection::vec(condition(), 0..=2);
    (any::<[bool; 4]>(), principal, actions, resources, conditions).prop_map(
        |([denies, but_principal, but_action, but_resource], principal, actions, resources, conditions)| {
            let name = |negated: bool, name: &str| if negated { format!("Not{name}") } else { name.to_owned() };
            let mut condition = serde_json::Map::new();
            for one in conditions {
                condition.extend(one.as_object().unwrap().clone());
            }
            json!({
                "Effect": if denies { "Deny" } else { "Allow" },
                name(but_principal && denies, "Principal"): principal,
                name(but_action, "Action"): actions,
                name(but_resource, "Resource"): resources,
                "Condition": condition,
            })
        },
    )
}

// The naive evaluator.

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![value.clone()])
        .iter()
        .map(|it| it.as_str().unwrap().to_owned())
        .collect()
}

fn glob(pattern: &[char], text: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some('*'), _) => glob(&pattern[1..], text) || (!text.is_empty() && glob(pattern, &text[1..])),
        // A star that a variable brought along is one of the text.
        (Some('?'), Some(_)) | (Some('\u{1}'), Some('*')) => glob(&pattern[1..], &text[1..]),
        (Some(a), Some(b)) if a == b => glob(&pattern[1..], &text[1..]),
        _ => false,
    }
}

fn like(pattern: &str, text: &str) -> bool {
    glob(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

impl Request {
    fn values(&self, key: &str) -> Vec<&'static str> {
        self.facts.iter().find(|(name, _)| *name == key).map(|(_, values)| values.clone()).unwrap_or_default()
    }

    /// The text with its variables replaced; `None` where one has no value.
    fn expand(&self, text: &str) -> Option<String> {
        let mut text = text.to_owned();
        for (variable, key, default) in [
            ("${aws:username, 'b'}", "aws:username", Some("b")),
            ("${aws:username}", "aws:username", None),
            ("${s3:prefix}", "s3:prefix", None),
        ] {
            if text.contains(variable) {
                let value = self.values(key).first().copied().or(default)?;
                text = text.replace(variable, &value.replace('*', "\u{1}"));
            }
        }
        Some(text)
    }

    fn covers(&self, principal: &Value) -> bool {
        if principal == "*" {
            return true;
        }
        principal.as_object().unwrap().iter().any(|(kind, names)| {
            texts(names).iter().any(|name| match kind.as_str() {
                "AWS" => name == "*" || (!self.caller.is_empty() && name.contains(self.caller)),
                "CanonicalUser" => !self.caller.is_empty() && *name == format!("canonical-{}", self.caller),
                _ => false,
            })
        })
    }

    fn holds(&self, operator: &str, key: &str, expected: &Value, denies: bool) -> bool {
        let given = self.values(key);
        let expected = texts(expected);
        if operator == "Null" {
            return expected.contains(&given.is_empty().to_string());
        }
        let (quantifier, operator) = operator.split_once(':').unwrap_or(("", operator));
        let (operator, if_exists) = operator.strip_suffix("IfExists").map_or((operator, false), |it| (it, true));
        let negated = operator.contains("Not");
        if given.is_empty() {
            return if_exists || quantifier == "ForAllValues" || (quantifier.is_empty() && negated);
        }
        let passes = |value: &&str| {
            let matches = |wanted: &String| -> Option<bool> {
                Some(match operator.replace("Not", "").as_str() {
                    "StringEquals" => self.expand(wanted).is_some_and(|it| it.replace('\u{1}', "*") == *value),
                    "StringEqualsIgnoreCase" => {
                        self.expand(wanted).is_some_and(|it| it.replace('\u{1}', "*").eq_ignore_ascii_case(value))
                    }
                    "StringLike" => self.expand(wanted).is_some_and(|it| like(&it, value)),
                    "NumericEquals" => value.parse::<i64>().ok()? == wanted.parse::<i64>().unwrap(),
                    "NumericLessThan" => value.parse::<i64>().ok()? < wanted.parse::<i64>().unwrap(),
                    "NumericGreaterThanEquals" => value.parse::<i64>().ok()? >= wanted.parse::<i64>().unwrap(),
                    "IpAddress" => match wanted.as_str() {
                        "10.0.0.0/8" => value.starts_with("10."),
                        "::/0" => value.contains(':'),
                        single => single == *value,
                    },
                    other => panic!("{other}"),
                })
            };
            let all: Option<Vec<bool>> = expected.iter().map(matches).collect();
            all.map_or(denies, |all| all.contains(&true) != negated)
        };
        match quantifier {
            "ForAllValues" => given.iter().all(passes),
            "ForAnyValue" => given.iter().any(passes),
            _ if denies => given.iter().any(passes),
            _ => given.iter().all(passes),
        }
    }

    fn applies(&self, statement: &Value) -> bool {
        let denies = statement["Effect"] == "Deny";
        let resource = if self.key.is_empty() { BUCKET.to_owned() } else { format!("{BUCKET}/{}", self.key) };
        let resource = format!("arn:aws:s3:::{resource}");
        let mut unresolved = false;
        let either = |name: &str, is: &mut dyn FnMut(&Value) -> bool| match statement.get(name) {
            Some(value) => is(value),
            None => !is(&statement[format!("Not{name}")]),
        };
        let applies = either("Principal", &mut |it| self.covers(it))
            && either("Action", &mut |it| texts(it).iter().any(|name| like(name, self.action.as_str())))
            && either("Resource", &mut |it| {
                let mut any = false;
                for name in texts(it) {
                    match self.expand(&name) {
                        Some(name) => any |= like(&name, &resource),
                        None => unresolved = true,
                    }
                }
                any
            });
        let mut holds = true;
        for (operator, keys) in statement["Condition"].as_object().unwrap() {
            for (key, expected) in keys.as_object().unwrap() {
                unresolved |= operator.contains("String") && texts(expected).iter().any(|it| self.expand(it).is_none());
                holds &= self.holds(operator, key, expected, denies);
            }
        }
        applies && holds && (denies || !unresolved)
    }

    fn verdict(&self, policy: &Value) -> Verdict {
        let statements = policy["Statement"].as_array().unwrap();
        let any = |effect: &str| statements.iter().any(|it| it["Effect"] == effect && self.applies(it));
        if any("Deny") {
            Verdict::Deny
        } else if any("Allow") {
            Verdict::Allow
        } else {
            Verdict::Silent
        }
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(1000))]

    #[test]
    fn policy_and_naive_reading_agree(
        statements in proptest::collection::vec(any_statement(), 1..=4),
        requests in proptest::collection::vec(request(), 4..=8),
    ) {
        let document = json!({"Version": "2012-10-17", "Statement": statements});
        let policy = parse(&document).unwrap();
        for request in requests {
            let caller = if request.caller.is_empty() { Principal::anonymous() } else { account(request.caller) };
            let facts: Vec<(&str, &[&str])> =
                request.facts.iter().map(|(name, values)| (*name, values.as_slice())).collect();
            let found = says(&policy, &caller, request.action, request.key, &told(&facts));
            prop_assert_eq!(found, request.verdict(&document), "{:?} {}", request, document);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(Policy::parse(&bytes, &BucketName::new(BUCKET).unwrap()));
    }

    /// Whatever is done to one character of a good policy, the reader says yes or no.
    #[test]
    fn no_spoiled_policy_makes_the_reader_panic(
        statement in any_statement(), at in any::<proptest::sample::Index>(), put in any::<char>(),
    ) {
        let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        chars[at] = put;
        let spoiled: String = chars.into_iter().collect();
        if let Ok(policy) = Policy::parse(spoiled.as_bytes(), &BucketName::new(BUCKET).unwrap()) {
            let _ = says(&policy, &account(LISA), Action::GetObject, "a", &Told::default());
        }
    }
}
