//! What counts as public.

use super::*;

#[test]
fn a_policy_for_everybody_is_public_unless_fixed_values_tell_callers_apart() {
    for (change, expected) in [
        (json!({}), true),
        (json!({"Principal": {"AWS": ["123456789012", "*"]}}), true),
        (json!({"Principal": {"AWS": "123456789012"}}), false),
        (json!({"Principal": {"AWS": "arn:aws:iam::s3tenant1:root"}}), false),
        (json!({"Principal": {"CanonicalUser": "a"}}), false),
        (json!({"Principal": {"Service": "a"}}), false),
        (json!({"Effect": "Deny"}), false),
        (json!({"Effect": "Deny", "Principal": null, "NotPrincipal": {"AWS": "123456789012"}}), false),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}}), false),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}), false),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}}), true),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.1", "::/0"]}}}), true),
        (json!({"Condition": {"IpAddressIfExists": {"aws:SourceIp": "10.0.0.1"}}}), true),
        (json!({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.1"}}}), true),
        (json!({"Condition": {"ForAllValues:IpAddress": {"aws:SourceIp": "10.0.0.1"}}}), true),
        (json!({"Condition": {"StringEquals": {"aws:SourceVpce": "vpce-1"}}}), false),
        (json!({"Condition": {"StringLike": {"aws:SourceVpce": "vpce-*"}}}), true),
        (json!({"Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}}), true),
        (json!({"Condition": {"StringEquals": {"aws:PrincipalArn": "${aws:userid}"}}}), true),
        (json!({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::123456789012:root"}}}), false),
        (json!({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:root"}}}), true),
        (json!({"Condition": {"StringEquals": {"s3:prefix": "a"}}}), true),
        (json!({"Condition": {"StringLike": {"aws:Referer": "http://a"}}}), true),
        (json!({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}), true),
        (
            json!({"Condition": {
                "StringLike": {"aws:Referer": "http://a"}, "StringEquals": {"aws:SourceAccount": "123456789012"},
            }}),
            false,
        ),
    ] {
        assert_eq!(parse(&statement(change.clone())).unwrap().is_public(), expected, "{change}");
    }
}
