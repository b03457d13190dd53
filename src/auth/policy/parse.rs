//! Reading a policy.

use thiserror::Error;

use super::{
    Effect, MAX_POLICY, Policy, Resources, Statement, Uses,
    conditions::{Condition, Operator},
    json::{self, Json},
    keys::ConditionKey,
    known::Known,
    names,
    pattern::{Syntax, Template},
    principals::Principals,
    public,
};
use crate::types::BucketName;

/// Most statements: 20 KB hold no more that say anything.
const MAX_STATEMENTS: usize = 500;
/// What names of resources begin with.
const RESOURCE: &str = "arn:aws:s3:::";

/// Why a document is no policy for this bucket: 400 `MalformedPolicy`, the text its message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PolicyError {
    /// Longer than [`MAX_POLICY`].
    #[error("Policy exceeds the maximum allowed document size.")]
    TooLong,
    /// No JSON object, or one with a key that stands twice.
    #[error("This policy contains invalid Json")]
    Json,
    /// Another version of the language.
    #[error("The policy must contain a valid version string")]
    Version,
    /// An element that does not belong there, is missing, or has another type.
    #[error("Policies must be valid JSON and {0} must be as the policy language says")]
    Element(&'static str),
    /// No effect, or one that is neither `Allow` nor `Deny`.
    #[error("Invalid effect")]
    Effect,
    /// A principal that is none.
    #[error("Invalid principal in policy")]
    Principal,
    /// Everybody but some cannot be allowed anything: that would be everybody nobody thought of.
    #[error("Allow with NotPrincipal is not allowed.")]
    AllowNotPrincipal,
    /// An action that S3 does not have.
    #[error("Policy has invalid action")]
    Action,
    /// A resource that is none, or lies outside of the bucket.
    #[error("Policy has invalid resource")]
    Resource,
    /// An operator that does not exist.
    #[error("Invalid Condition type")]
    Operator,
    /// A condition key that does not exist.
    #[error("Policy has an invalid condition key")]
    ConditionKey,
    /// A value that its operator cannot compare.
    #[error("Policy has an invalid condition value")]
    ConditionValue,
}

impl Policy {
    /// Reads the policy of a bucket.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(document: &[u8], bucket: &BucketName) -> Result<Self, PolicyError> {
        if document.len() > MAX_POLICY {
            return Err(PolicyError::TooLong);
        }
        let Some(Json::Object(elements)) = json::read(document) else { return Err(PolicyError::Json) };
        only(&elements, &["Version", "Id", "Statement"])?;
        let variables = match find(&elements, "Version") {
            None => false,
            Some(Json::Text(version)) => match version.as_str() {
                "2012-10-17" => true,
                "2008-10-17" => false,
                _ => return Err(PolicyError::Version),
            },
            Some(_) => return Err(PolicyError::Version),
        };
        text(&elements, "Id")?;
        let statements = match find(&elements, "Statement") {
            Some(Json::List(items)) if (1..=MAX_STATEMENTS).contains(&items.len()) => items.iter().collect(),
            Some(statement @ Json::Object(_)) => vec![statement],
            _ => return Err(PolicyError::Element("Statement")),
        };
        let reader = Reader { bucket, variables };
        let mut parsed = Vec::with_capacity(statements.len());
        for statement in statements {
            let Json::Object(elements) = statement else { return Err(PolicyError::Element("Statement")) };
            // Names mean nothing here: two of one name are two statements (s3-tests).
            text(elements, "Sid")?;
            parsed.push(reader.statement(elements)?);
        }
        Ok(Self { public: public::is_public(&parsed), uses: Uses::of(&parsed), statements: parsed })
    }
}

type Elements = [(String, Json)];

struct Reader<'a> {
    bucket: &'a BucketName,
    variables: bool,
}

impl Reader<'_> {
    fn statement(&self, elements: &Elements) -> Result<Statement, PolicyError> {
        only(
            elements,
            &[
                "Sid",
                "Effect",
                "Principal",
                "NotPrincipal",
                "Action",
                "NotAction",
                "Resource",
                "NotResource",
                "Condition",
            ],
        )?;
        let effect = match text(elements, "Effect").map_err(|_| PolicyError::Effect)? {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(PolicyError::Effect),
        };
        let (principal, but_them) = either(elements, "Principal", "NotPrincipal")?;
        if but_them && effect == Effect::Allow {
            return Err(PolicyError::AllowNotPrincipal);
        }
        let principals = Principals::parse(principal, but_them).ok_or(PolicyError::Principal)?;
        let (action, all_but) = either(elements, "Action", "NotAction")?;
        let mut actions = 0;
        for name in texts(action).ok_or(PolicyError::Action)? {
            actions |= names::actions(&name).ok_or(PolicyError::Action)?;
        }
        let (resource, negated) = either(elements, "Resource", "NotResource")?;
        let resources = texts(resource).ok_or(PolicyError::Resource)?;
        let names: Result<_, _> = resources.iter().map(|name| self.resource(name)).collect();
        let resources = Resources { names: names?, negated };
        let conditions = match find(elements, "Condition") {
            None => Vec::new(),
            Some(Json::Object(operators)) => self.conditions(operators)?,
            Some(_) => return Err(PolicyError::Element("Condition")),
        };
        let templates = conditions.iter().flat_map(Condition::templates).chain(&resources.names);
        let variables = templates.flat_map(Template::variables).cloned().collect();
        let actions = if all_but { !actions } else { actions };
        Ok(Statement { effect, principals, actions, resources, conditions, variables })
    }

    /// A resource must be one that the bucket, or something in it, can have the name of.
    fn resource(&self, name: &str) -> Result<Template, PolicyError> {
        let name = name.strip_prefix(RESOURCE).filter(|name| !name.is_empty()).ok_or(PolicyError::Resource)?;
        let syntax = Syntax { wildcards: true, variables: self.variables };
        let template = Template::parse(name, syntax).ok_or(PolicyError::Resource)?;
        let bucket = name.split_once('/').map_or(name, |(bucket, _)| bucket);
        let bucket = Template::parse(bucket, syntax).filter(|bucket| !bucket.has_variables());
        let own: Vec<char> = self.bucket.as_str().chars().collect();
        let nothing = Known::new(&Nothing);
        let pattern = bucket.as_ref().and_then(|bucket| bucket.expand(&nothing, own.len()));
        let fits = pattern.is_some_and(|pattern| pattern.matches(&own));
        if fits { Ok(template) } else { Err(PolicyError::Resource) }
    }

    fn conditions(&self, operators: &Elements) -> Result<Vec<Condition>, PolicyError> {
        let mut conditions = Vec::new();
        for (name, keys) in operators {
            let operator = Operator::parse(name).ok_or(PolicyError::Operator)?;
            let Json::Object(keys) = keys else { return Err(PolicyError::Element("Condition")) };
            for (name, values) in keys {
                let key = ConditionKey::parse(name).ok_or(PolicyError::ConditionKey)?;
                let values = texts(values).ok_or(PolicyError::ConditionValue)?;
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                let test = operator.test(&values, self.variables).ok_or(PolicyError::ConditionValue)?;
                conditions.push(Condition { key, test, operator });
            }
        }
        Ok(conditions)
    }
}

impl Uses {
    fn of(statements: &[Statement]) -> Self {
        let keys = || {
            let conditions = || statements.iter().flat_map(|statement| &statement.conditions);
            let names = statements.iter().flat_map(|statement| &statement.resources.names);
            let templates = conditions().flat_map(Condition::templates).chain(names);
            conditions().map(|condition| &condition.key).chain(templates.flat_map(Template::keys))
        };
        Self {
            existing_tags: keys().any(|key| matches!(key, ConditionKey::ExistingObjectTag(_))),
            request_tags: keys()
                .any(|key| matches!(key, ConditionKey::RequestObjectTag(_) | ConditionKey::RequestObjectTagKeys)),
            locks: keys().any(ConditionKey::is_of_lock),
        }
    }
}

/// Facts of nobody: a text without variables needs none.
#[derive(Debug)]
struct Nothing;

impl super::Facts for Nothing {
    fn values(&self, _: &ConditionKey) -> Vec<String> {
        Vec::new()
    }
}

fn find<'a>(elements: &'a Elements, name: &str) -> Option<&'a Json> {
    elements.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// Elements are spelled as they are: one that is misspelled would leave out what it was to say.
fn only(elements: &Elements, names: &'static [&'static str]) -> Result<(), PolicyError> {
    let known = elements.iter().all(|(name, _)| names.contains(&name.as_str()));
    if known { Ok(()) } else { Err(PolicyError::Element("its elements")) }
}

fn text<'a>(elements: &'a Elements, name: &'static str) -> Result<Option<&'a str>, PolicyError> {
    match find(elements, name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(PolicyError::Element(name)),
    }
}

/// Exactly one of two elements, and whether it is the negated one.
fn either<'a>(
    elements: &'a Elements,
    plain: &'static str,
    negated: &'static str,
) -> Result<(&'a Json, bool), PolicyError> {
    match (find(elements, plain), find(elements, negated)) {
        (Some(value), None) => Ok((value, false)),
        (None, Some(value)) => Ok((value, true)),
        _ => Err(PolicyError::Element(plain)),
    }
}

/// One value or a list of them, not empty; numbers and booleans are texts, too.
fn texts(json: &Json) -> Option<Vec<String>> {
    let one = |json: &Json| match json {
        Json::Text(text) | Json::Number(text) => Some(text.clone()),
        Json::Bool(value) => Some(value.to_string()),
        Json::Null | Json::List(_) | Json::Object(_) => None,
    };
    match json {
        Json::List(items) if items.is_empty() => None,
        Json::List(items) => items.iter().map(one).collect(),
        single => one(single).map(|text| vec![text]),
    }
}
