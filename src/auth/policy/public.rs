//! Whether a policy makes something public.
//!
//! It does unless what it allows to everybody is bound to fixed values of keys that tell callers apart: accounts,
//! networks, sources (S3 reference, "Blocking public access to your Amazon S3 storage", "The meaning of public").

use ipnet::IpNet;

use super::{
    Effect, Statement,
    conditions::{Condition, Quantifier, Test},
    keys::ConditionKey,
    pattern::Template,
};

/// Networks with shorter prefixes than these are as good as everybody.
const SMALLEST_PREFIXES: (u8, u8) = (8, 32);

/// Whether one of the statements allows something to everybody.
pub(super) fn is_public(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| {
        statement.effect == Effect::Allow
            && statement.principals.is_everyone()
            && !statement.conditions.iter().any(tells_callers_apart)
    })
}

fn tells_callers_apart(condition: &Condition) -> bool {
    let operator = &condition.operator;
    if operator.negated || operator.if_exists || operator.quantifier == Some(Quantifier::All) {
        return false;
    }
    match &condition.test {
        Test::Ip(networks) => condition.key == ConditionKey::SourceIp && networks.iter().all(is_narrow),
        Test::Text(_, templates) => names_callers(&condition.key) && templates.iter().all(Template::is_fixed),
        _ => false,
    }
}

fn is_narrow(network: &IpNet) -> bool {
    let least = match network {
        IpNet::V4(_) => SMALLEST_PREFIXES.0,
        IpNet::V6(_) => SMALLEST_PREFIXES.1,
    };
    network.prefix_len() >= least
}

fn names_callers(key: &ConditionKey) -> bool {
    match key {
        ConditionKey::PrincipalArn | ConditionKey::PrincipalAccount | ConditionKey::UserId => true,
        ConditionKey::Absent(name) => matches!(
            *name,
            "aws:PrincipalOrgID"
                | "aws:PrincipalOrgPaths"
                | "aws:SourceAccount"
                | "aws:SourceArn"
                | "aws:SourceOwner"
                | "aws:SourceVpc"
                | "aws:SourceVpce"
                | "s3:DataAccessPointAccount"
                | "s3:DataAccessPointArn"
        ),
        _ => false,
    }
}
