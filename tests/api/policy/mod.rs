//! Who gets in: bucket policies, public access block, ownership, payers (s3-wire-2.md §13).

mod between;
mod combinations;
mod conditions;
mod evasions;
mod ownership;
mod payment;
mod permissions;
mod settings;
mod writes;

use crate::support::client::{Call, Client};

/// A request that sets a bucket's policy to these statements.
fn policy(client: &Client, bucket: &str, statements: &str) -> Call {
    let document = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    client.put(&format!("/{bucket}?policy"), document).digested()
}

/// A statement about a bucket and all of its objects.
fn statement(effect: &str, principal: &str, action: &str, bucket: &str) -> String {
    on(effect, principal, action, &[&format!("{bucket}/*"), bucket], "{}")
}

/// A statement about these resources under a condition.
fn on(effect: &str, principal: &str, action: &str, resources: &[&str], condition: &str) -> String {
    let resources: Vec<String> = resources.iter().map(|name| format!(r#""arn:aws:s3:::{name}""#)).collect();
    let resources = resources.join(",");
    format!(
        r#"{{"Effect":"{effect}","Principal":{principal},"Action":"{action}","Resource":[{resources}],"Condition":{condition}}}"#
    )
}

/// Everybody.
const ALL: &str = r#""*""#;
/// Lisa's account.
const LISA: &str = r#"{"AWS":"arn:aws:iam::123456789013:root"}"#;

/// A request that sets a bucket's public access block: the switches in the order of S3's list.
fn block(client: &Client, bucket: &str, switches: [bool; 4]) -> Call {
    let names = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
    let inside: String = names.iter().zip(switches).map(|(name, on)| format!("<{name}>{on}</{name}>")).collect();
    let document = format!("<PublicAccessBlockConfiguration>{inside}</PublicAccessBlockConfiguration>");
    client.put(&format!("/{bucket}?publicAccessBlock"), document).digested()
}

/// A request that decides who owns what is written.
fn ownership(client: &Client, bucket: &str, value: &str) -> Call {
    let document =
        format!("<OwnershipControls><Rule><ObjectOwnership>{value}</ObjectOwnership></Rule></OwnershipControls>");
    client.put(&format!("/{bucket}?ownershipControls"), document).digested()
}

/// A request that sets a bucket's canned list.
fn list(client: &Client, bucket: &str, canned: &str) -> Call {
    client.put(&format!("/{bucket}?acl"), "").header("x-amz-acl", canned)
}
