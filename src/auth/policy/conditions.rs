//! Conditions: operator, key, values (IAM reference, "JSON policy elements: Condition operators").

use std::{cmp::Ordering, net::IpAddr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ipnet::{IpNet, Ipv4Net};

use super::{
    Effect,
    keys::ConditionKey,
    known::Known,
    pattern::{Syntax, Template},
};
use crate::types::Timestamp;

/// One line of a `Condition` element.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) key: ConditionKey,
    pub(super) test: Test,
    pub(super) operator: Operator,
}

/// How a condition compares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator {
    family: Family,
    /// `…Not…`: met where the positive operator is not.
    pub(super) negated: bool,
    /// `…IfExists`: met where the key has no value.
    pub(super) if_exists: bool,
    pub(super) quantifier: Option<Quantifier>,
}

/// How the several values of a key count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// `ForAllValues:`: each must pass; none at all pass, too.
    All,
    /// `ForAnyValue:`: one must pass.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Text(Likeness),
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    Equal,
    EqualIgnoringCase,
    Like,
    Arn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The values of a condition, read once; one of them must match.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Text(Likeness, Vec<Template>),
    Number(Order, Vec<f64>),
    /// Milliseconds since the epoch.
    Date(Order, Vec<u64>),
    Bool(Vec<bool>),
    Binary(Vec<Vec<u8>>),
    Ip(Vec<IpNet>),
    /// Whether the key must be without a value.
    Null(Vec<bool>),
}

const OPERATORS: &[(&str, Family, bool)] = &[
    ("StringEquals", Family::Text(Likeness::Equal), false),
    ("StringNotEquals", Family::Text(Likeness::Equal), true),
    ("StringEqualsIgnoreCase", Family::Text(Likeness::EqualIgnoringCase), false),
    ("StringNotEqualsIgnoreCase", Family::Text(Likeness::EqualIgnoringCase), true),
    ("StringLike", Family::Text(Likeness::Like), false),
    ("StringNotLike", Family::Text(Likeness::Like), true),
    ("ArnEquals", Family::Text(Likeness::Arn), false),
    ("ArnNotEquals", Family::Text(Likeness::Arn), true),
    ("ArnLike", Family::Text(Likeness::Arn), false),
    ("ArnNotLike", Family::Text(Likeness::Arn), true),
    ("NumericEquals", Family::Number(Order::Equal), false),
    ("NumericNotEquals", Family::Number(Order::Equal), true),
    ("NumericLessThan", Family::Number(Order::Less), false),
    ("NumericLessThanEquals", Family::Number(Order::LessOrEqual), false),
    ("NumericGreaterThan", Family::Number(Order::Greater), false),
    ("NumericGreaterThanEquals", Family::Number(Order::GreaterOrEqual), false),
    ("DateEquals", Family::Date(Order::Equal), false),
    ("DateNotEquals", Family::Date(Order::Equal), true),
    ("DateLessThan", Family::Date(Order::Less), false),
    ("DateLessThanEquals", Family::Date(Order::LessOrEqual), false),
    ("DateGreaterThan", Family::Date(Order::Greater), false),
    ("DateGreaterThanEquals", Family::Date(Order::GreaterOrEqual), false),
    ("Bool", Family::Bool, false),
    ("BinaryEquals", Family::Binary, false),
    ("IpAddress", Family::Ip, false),
    ("NotIpAddress", Family::Ip, true),
    ("Null", Family::Null, false),
];

impl Operator {
    /// The operator of that name; `None` for one that is unknown or cannot be combined so.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (quantifier, name) = match name.split_once(':') {
            None => (None, name),
            Some(("ForAllValues", name)) => (Some(Quantifier::All), name),
            Some(("ForAnyValue", name)) => (Some(Quantifier::Any), name),
            Some(_) => return None,
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (_, family, negated) = OPERATORS.iter().find(|(known, ..)| *known == name)?;
        if *family == Family::Null && (if_exists || quantifier.is_some()) {
            return None;
        }
        Some(Self { family: *family, negated: *negated, if_exists, quantifier })
    }

    /// Reads the values that the key is compared with; `None` where one is of another kind, or there are none.
    pub(super) fn test(self, values: &[&str], variables: bool) -> Option<Test> {
        fn all<T>(values: &[&str], read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
            values.iter().map(|value| read(value)).collect()
        }
        if values.is_empty() {
            return None;
        }
        Some(match self.family {
            Family::Text(likeness) => {
                let wildcards = matches!(likeness, Likeness::Like | Likeness::Arn);
                let read = |value: &str| {
                    let template = Template::parse(value, Syntax { wildcards, variables })?;
                    let is_arn =
                        template.has_variables() || (value.starts_with("arn:") && value.split(':').count() > 5);
                    (likeness != Likeness::Arn || is_arn).then_some(template)
                };
                Test::Text(likeness, all(values, read)?)
            }
            Family::Number(order) => Test::Number(order, all(values, number)?),
            Family::Date(order) => Test::Date(order, all(values, date)?),
            Family::Bool => Test::Bool(all(values, boolean)?),
            Family::Binary => Test::Binary(all(values, |value| BASE64_STANDARD.decode(value).ok())?),
            Family::Ip => Test::Ip(all(values, network)?),
            Family::Null => Test::Null(all(values, boolean)?),
        })
    }
}

fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse::<f64>().ok().filter(|number| plain && number.is_finite())
}

/// ISO 8601, a day alone, or seconds since the epoch.
fn date(text: &str) -> Option<u64> {
    let full = Timestamp::parse_iso8601(text);
    let day = || Timestamp::parse_iso8601(&format!("{text}T00:00:00Z"));
    let seconds = || text.parse::<u64>().ok().map(Timestamp::from_secs);
    full.or_else(day).or_else(seconds).map(Timestamp::as_millis)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    // Addresses are compared in their own form: a network written as IPv6 may be one of IPv4.
    match network {
        IpNet::V6(six) if six.prefix_len() >= MAPPED => {
            let four = six.addr().to_ipv4_mapped().and_then(|four| Ipv4Net::new(four, six.prefix_len() - MAPPED).ok());
            Some(four.map_or(network, IpNet::V4))
        }
        _ => Some(network),
    }
}

/// Bits before the address in an IPv4 address that is written as IPv6.
const MAPPED: u8 = 96;

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Condition {
    /// Whether the condition is met.
    ///
    /// Several values without a quantifier must all pass in an Allow, and one must in a Deny. What cannot be compared
    /// fails an Allow and meets a Deny.
    pub(super) fn holds(&self, facts: &Known<'_>, effect: Effect) -> bool {
        if facts.settled(&self.key) {
            return effect == Effect::Allow;
        }
        let values = facts.values(&self.key);
        if let Test::Null(expected) = &self.test {
            return expected.contains(&values.is_empty());
        }
        let Operator { negated, if_exists, quantifier, .. } = self.operator;
        if values.is_empty() {
            return if_exists || quantifier.map_or(negated, |quantifier| quantifier == Quantifier::All);
        }
        let passes = |value: &String| match self.test.matches(value, facts) {
            Some(matches) => matches != negated,
            None => effect == Effect::Deny,
        };
        let all = match quantifier {
            Some(Quantifier::All) => true,
            Some(Quantifier::Any) => false,
            None => effect == Effect::Allow,
        };
        if all { values.iter().all(passes) } else { values.iter().any(passes) }
    }

    /// Whether it asks nothing but what is the same for all that one request does to a bucket.
    pub(super) fn is_of_caller(&self) -> bool {
        self.key.is_of_caller() && self.templates().iter().flat_map(Template::keys).all(ConditionKey::is_of_caller)
    }

    /// Texts that its key is compared with.
    pub(super) fn templates(&self) -> &[Template] {
        match &self.test {
            Test::Text(_, templates) => templates,
            _ => &[],
        }
    }
}

impl Test {
    /// Whether one of the values matches; `None` where the value is of another kind than they are.
    fn matches(&self, value: &str, facts: &Known<'_>) -> Option<bool> {
        let ordered = |order: &Order, ordering: Option<Ordering>| ordering.map(|ordering| order.holds(ordering));
        match self {
            Self::Text(likeness, templates) => {
                let value: Vec<char> = value.chars().collect();
                Some(templates.iter().any(|template| {
                    template.expand(facts, value.len()).is_some_and(|pattern| match likeness {
                        Likeness::Equal | Likeness::Like => pattern.matches(&value),
                        Likeness::EqualIgnoringCase => pattern.matches_ignoring_case(&value),
                        Likeness::Arn => pattern.matches_arn(&value),
                    })
                }))
            }
            Self::Number(order, numbers) => {
                let value = number(value)?;
                Some(numbers.iter().any(|number| ordered(order, value.partial_cmp(number)).unwrap_or(false)))
            }
            Self::Date(order, dates) => {
                let value = date(value)?;
                Some(dates.iter().any(|date| order.holds(value.cmp(date))))
            }
            Self::Bool(expected) => Some(expected.contains(&boolean(value)?)),
            Self::Binary(expected) => Some(expected.iter().any(|bytes| bytes == value.as_bytes())),
            Self::Ip(networks) => {
                let address = value.parse::<IpAddr>().ok()?.to_canonical();
                Some(networks.iter().any(|network| network.contains(&address)))
            }
            Self::Null(_) => None,
        }
    }
}
