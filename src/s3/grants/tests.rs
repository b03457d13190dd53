use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::types::account::{ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY};

/// Three accounts; the name of `<d&>` needs escapes.
#[derive(Debug)]
struct Accounts;

const ACCOUNTS: [(&str, &str, &str); 3] =
    [("aaa", "Ann", "ann@example.com"), ("bbb", "Bob", "bob,2@example.com"), ("<d&>", "\"D\"", "d@example.com")];

impl Directory for Accounts {
    fn display_name(&self, account: &AccountId) -> Option<Arc<str>> {
        ACCOUNTS.iter().find(|(id, ..)| *id == account.as_str()).map(|(_, name, _)| Arc::from(*name))
    }

    fn by_email(&self, email: &str) -> Option<AccountId> {
        ACCOUNTS.iter().find(|(.., mail)| *mail == email).map(|(id, ..)| AccountId::new(*id))
    }
}

fn account(id: &str) -> Grantee {
    Grantee::Account(AccountId::new(id))
}

fn head(headers: &[(&str, &str)]) -> Head {
    let pairs = headers.iter().map(|(name, value)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    });
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name, value);
    }
    Head::new(Method::PUT, map, "").unwrap()
}

fn object_acl(headers: &[(&str, &str)]) -> S3Result<Option<Acl>> {
    let (owner, bucket_owner) = (AccountId::new("aaa"), AccountId::new("bbb"));
    from_headers(&head(headers), &Accounts, Subject::Object { owner: &owner, bucket_owner: &bucket_owner })
}

fn bucket_acl(headers: &[(&str, &str)]) -> S3Result<Option<Acl>> {
    from_headers(&head(headers), &Accounts, Subject::Bucket { owner: &AccountId::new("aaa") })
}

fn shown(acl: &Acl) -> Vec<(&str, &str)> {
    let name = |grant: &Grant| match &grant.grantee {
        Grantee::Account(id) => ACCOUNTS.iter().find(|(known, ..)| *known == id.as_str()).unwrap().0,
        group => group.group_uri().unwrap(),
    };
    acl.grants.iter().map(|grant| (name(grant), grant.permission.as_str())).collect()
}

fn read_as_owner(document: &str) -> S3Result<Acl> {
    read(document.as_bytes(), &AccountId::new("aaa"), &Accounts)
}

fn policy(grants: &str) -> String {
    format!(
        "<AccessControlPolicy><Owner><ID>aaa</ID></Owner><AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
    )
}

fn grant(attribute: &str, grantee: &str, permission: &str) -> String {
    format!("<Grant><Grantee {attribute}>{grantee}</Grantee><Permission>{permission}</Permission></Grant>")
}

#[test]
fn headers_grant_what_they_name_and_the_owner_nothing_besides() {
    let acl = bucket_acl(&[
        ("x-amz-grant-full-control", "id=\"aaa\""),
        ("x-amz-grant-read", &format!("uri=\"{ALL_USERS}\" , id=bbb,EMAILADDRESS = \"bob,2@example.com\"")),
        ("x-amz-grant-write-acp", &format!("uri={AUTHENTICATED_USERS}")),
        ("x-amz-grant-write-acp", "emailAddress=ann@example.com"),
        ("x-amz-grant-read-acp", &format!("URI=\"{LOG_DELIVERY}\"")),
        ("x-amz-grant-write", "id=bbb"),
    ]);
    assert_eq!(
        shown(&acl.unwrap().unwrap()),
        [
            (ALL_USERS, "READ"),
            ("bbb", "READ"),
            ("bbb", "READ"),
            ("bbb", "WRITE"),
            (LOG_DELIVERY, "READ_ACP"),
            (AUTHENTICATED_USERS, "WRITE_ACP"),
            ("aaa", "WRITE_ACP"),
            ("aaa", "FULL_CONTROL"),
        ]
    );
}

#[test]
fn no_header_and_empty_headers_ask_for_nothing() {
    assert_eq!(object_acl(&[]).unwrap(), None);
    assert_eq!(object_acl(&[("x-amz-acl", ""), ("x-amz-grant-read", " ")]).unwrap(), None);
}

#[test]
fn presigned_addresses_carry_grants_as_parameters() {
    let head = Head::new(Method::PUT, HeaderMap::new(), "x-amz-grant-read=id%3D%22bbb%22&X-Amz-Expires=1").unwrap();
    let acl = from_headers(&head, &Accounts, Subject::Bucket { owner: &AccountId::new("aaa") }).unwrap().unwrap();
    assert_eq!(shown(&acl), [("bbb", "READ")]);
}

#[test]
fn headers_that_cannot_be_read_are_refused_and_never_overlooked() {
    let unreadable = [
        "bbb",
        "id",
        "id=",
        "=bbb",
        "id=\"\"",
        "id=\"bbb",
        "id=bbb\"",
        "id=\"bbb\"x",
        "id=bbb,",
        ",id=bbb",
        "id=bbb,,id=bbb",
        "id=bbb;id=bbb",
        "name=bbb",
        "\u{fc}id=bbb",
    ];
    for text in unreadable {
        let error = bucket_acl(&[("x-amz-grant-read", text)]).unwrap_err();
        assert_eq!(error.code, S3Code::InvalidArgument, "{text}");
    }
    assert_eq!(object_acl(&[("x-amz-acl", "priv\u{e4}te")]).unwrap_err().code, S3Code::InvalidArgument);
}

#[test]
fn only_accounts_and_groups_that_exist_receive_grants() {
    let group_as_id = format!("id=\"{ALL_USERS}\"");
    for (text, code, message) in [
        ("id=_foo", S3Code::InvalidArgument, "Invalid id"),
        (group_as_id.as_str(), S3Code::InvalidArgument, "Invalid id"),
        ("uri=http://acs.amazonaws.com/groups/global/Nobody", S3Code::InvalidArgument, "Invalid group uri"),
        ("uri=aaa", S3Code::InvalidArgument, "Invalid group uri"),
        (
            "emailAddress=\"none@example.com\"",
            S3Code::UnresolvableGrantByEmailAddress,
            S3Code::UnresolvableGrantByEmailAddress.message(),
        ),
    ] {
        let error = bucket_acl(&[("x-amz-grant-read", text)]).unwrap_err();
        assert_eq!((error.code, error.message()), (code, message), "{text}");
    }
}

#[test]
fn a_list_has_at_most_a_hundred_grants() {
    let items = |count: usize| vec!["id=bbb"; count].join(",");
    assert_eq!(bucket_acl(&[("x-amz-grant-read", &items(100))]).unwrap().unwrap().grants.len(), 100);
    let split = bucket_acl(&[("x-amz-grant-read", &items(60)), ("x-amz-grant-write", &items(41))]);
    assert_eq!(split.unwrap_err().code, S3Code::InvalidArgument);

    let one = grant("xsi:type=\"CanonicalUser\"", "<ID>bbb</ID>", "READ");
    assert_eq!(read_as_owner(&policy(&one.repeat(100))).unwrap().grants.len(), 100);
    assert_eq!(read_as_owner(&policy(&one.repeat(101))).unwrap_err().code, S3Code::MalformedACLError);
}

#[test]
fn canned_lists_are_for_their_subject() {
    let object = |name| object_acl(&[("x-amz-acl", name)]);
    let bucket = |name| bucket_acl(&[("x-amz-acl", name)]);
    assert_eq!(shown(&object("bucket-owner-read").unwrap().unwrap()), [("aaa", "FULL_CONTROL"), ("bbb", "READ")]);
    assert_eq!(shown(&bucket("bucket-owner-read").unwrap().unwrap()), [("aaa", "FULL_CONTROL")]);
    assert_eq!(object("log-delivery-write").unwrap_err().code, S3Code::InvalidArgument);
    assert_eq!(
        shown(&bucket("log-delivery-write").unwrap().unwrap()),
        [("aaa", "FULL_CONTROL"), (LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")]
    );
    for unknown in ["public-ready", "PRIVATE", "private,private"] {
        assert_eq!(object(unknown).unwrap_err().code, S3Code::InvalidArgument, "{unknown}");
        assert_eq!(bucket(unknown).unwrap_err().code, S3Code::InvalidArgument, "{unknown}");
    }
}

#[test]
fn a_request_sets_a_list_in_exactly_one_way() {
    let owner = AccountId::new("aaa");
    let document = policy(&grant("xsi:type=\"CanonicalUser\"", "<ID>bbb</ID>", "READ"));
    let set = |headers: &[(&str, &str)], document: &str| {
        from_request(&head(headers), document.as_bytes(), &Accounts, Subject::Bucket { owner: &owner })
    };
    let (canned, granted) = (("x-amz-acl", "private"), ("x-amz-grant-read", "id=bbb"));
    assert_eq!(shown(&set(&[], &document).unwrap()), [("bbb", "READ")]);
    assert_eq!(shown(&set(&[canned], "").unwrap()), [("aaa", "FULL_CONTROL")]);
    assert_eq!(shown(&set(&[granted], "").unwrap()), [("bbb", "READ")]);
    for (headers, document) in
        [(vec![canned, granted], ""), (vec![canned], &*document), (vec![granted], &*document), (vec![canned], "x")]
    {
        assert_eq!(set(&headers, document).unwrap_err().code, S3Code::InvalidRequest, "{headers:?} {document}");
    }
    assert_eq!(set(&[], "").unwrap_err().code, S3Code::MissingSecurityHeader);
}

#[test]
fn documents_read_in_any_order_with_any_prefix_and_white_space() {
    let document = format!(
        "<?xml version=\"1.0\"?>\n<a:AccessControlPolicy xmlns:a=\"http://s3.amazonaws.com/doc/2006-03-01/\">
        <a:AccessControlList>
          <a:Grant><a:Permission> WRITE_ACP </a:Permission>
            <a:Grantee xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" i:type=\"AmazonCustomerByEmail\">
              <a:EmailAddress>bob,2@example.com</a:EmailAddress></a:Grantee></a:Grant>
          {}{}
        </a:AccessControlList>
        <a:Owner><a:DisplayName/><a:ID>
           aaa </a:ID></a:Owner></a:AccessControlPolicy>",
        grant("xsi:type=\"Group\"", &format!("<URI>{ALL_USERS}</URI>"), "READ"),
        grant("xsi:type='CanonicalUser'", "<DisplayName>whoever</DisplayName><ID>&lt;d&amp;></ID>", "FULL_CONTROL"),
    );
    let acl = read_as_owner(&document).unwrap();
    assert_eq!(shown(&acl), [("bbb", "WRITE_ACP"), (ALL_USERS, "READ"), ("<d&>", "FULL_CONTROL")]);
}

#[test]
fn a_document_may_take_every_grant_away_even_the_owners() {
    for empty in ["<AccessControlList/>", "<AccessControlList></AccessControlList>"] {
        let document = format!("<AccessControlPolicy><Owner><ID>aaa</ID></Owner>{empty}</AccessControlPolicy>");
        assert_eq!(read_as_owner(&document).unwrap(), Acl::default());
    }
}

#[test]
fn a_document_cannot_change_the_owner() {
    let document = policy("").replace("aaa", "bbb");
    assert_eq!(read_as_owner(&document).unwrap_err().code, S3Code::AccessDenied);
}

#[test]
fn broken_documents_are_malformed_lists() {
    let user = "xsi:type=\"CanonicalUser\"";
    let id = "<ID>bbb</ID>";
    let broken = [
        String::new(),
        "no document".to_owned(),
        policy("").replace("</Owner>", ""),
        format!("<!DOCTYPE a [<!ENTITY e \"x\">]>{}", policy("")),
        policy("").replace("AccessControlPolicy", "Policy"),
        policy("").replace("<Owner><ID>aaa</ID></Owner>", ""),
        policy("").replace("<ID>aaa</ID>", ""),
        policy("").replace("<ID>aaa</ID>", "<ID/>"),
        policy("").replace("<ID>aaa</ID>", "<ID>aaa</ID><ID>aaa</ID>"),
        policy("").replace("<ID>aaa</ID>", "<ID><ID>aaa</ID></ID>"),
        policy("").replace("<AccessControlList></AccessControlList>", ""),
        policy("").replace("<AccessControlList>", "<AccessControlList/><AccessControlList>"),
        policy("").replace("<Owner>", "<Grant/><Owner>"),
        policy("<Grants/>"),
        policy("<Grant/>"),
        policy(&grant(user, id, "")),
        policy(&grant(user, id, "read")),
        policy(&grant(user, id, "ALL")),
        policy(&grant(user, id, "READ").replace("<Permission>READ</Permission>", "")),
        policy(&grant(user, id, "READ</Permission><Permission>WRITE")),
        policy(&grant(user, id, "READ").replace("Grantee", "Grantees")),
        policy(&grant("", id, "READ")),
        policy(&grant("xsi:type=\"canonicaluser\"", id, "READ")),
        policy(&grant(user, "", "READ")),
        policy(&grant(user, "<ID/>", "READ")),
        policy(&grant(user, "<ID>bbb</ID><ID>aaa</ID>", "READ")),
        policy(&grant(user, "<URI>bbb</URI>", "READ")),
        policy(&grant(user, "<ID>bbb</ID><Name/>", "READ")),
        policy(&grant("xsi:type=\"Group\"", id, "READ")),
        policy(&grant("xsi:type=\"AmazonCustomerByEmail\"", id, "READ")),
    ];
    for document in broken {
        assert_eq!(read_as_owner(&document).unwrap_err().code, S3Code::MalformedACLError, "{document}");
    }
}

#[test]
fn a_document_names_only_accounts_and_groups_that_exist() {
    for (kind, element, code, argument) in [
        ("CanonicalUser", "<ID>_foo</ID>", S3Code::InvalidArgument, "Invalid id"),
        ("Group", "<URI>http://example.com</URI>", S3Code::InvalidArgument, "Invalid group uri"),
        (
            "AmazonCustomerByEmail",
            "<EmailAddress>doesnotexist@example.com</EmailAddress>",
            S3Code::UnresolvableGrantByEmailAddress,
            S3Code::UnresolvableGrantByEmailAddress.message(),
        ),
    ] {
        let error = read_as_owner(&policy(&grant(&format!("xsi:type=\"{kind}\""), element, "READ"))).unwrap_err();
        assert_eq!((error.code, error.message()), (code, argument), "{element}");
    }
}

#[test]
fn answers_list_groups_before_accounts_with_their_types_and_names() {
    let grants = [(account("<d&>"), Permission::FullControl), (Grantee::AllUsers, Permission::Read)];
    let grants = grants.map(|(grantee, permission)| Grant { grantee, permission }).to_vec();
    let written = write(&AccountId::new("gone"), "Former & Co", &Acl { grants }, &Accounts);
    assert_eq!(
        str::from_utf8(&written).unwrap(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <AccessControlPolicy xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Owner><ID>gone</ID><DisplayName>Former &amp; Co</DisplayName></Owner><AccessControlList>\
         <Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\">\
         <URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>\
         <Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">\
         <ID>&lt;d&amp;&gt;</ID><DisplayName>&quot;D&quot;</DisplayName></Grantee>\
         <Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"
    );
}

fn any_list() -> impl Strategy<Value = Acl> {
    let grantee = prop_oneof![
        proptest::sample::select(vec!["aaa", "bbb", "<d&>"]).prop_map(account),
        proptest::sample::select(vec![Grantee::AllUsers, Grantee::AuthenticatedUsers, Grantee::LogDelivery]),
    ];
    let permission = prop_oneof![
        Just(Permission::FullControl),
        Just(Permission::Read),
        Just(Permission::Write),
        Just(Permission::ReadAcp),
        Just(Permission::WriteAcp),
    ];
    let grant = (grantee, permission).prop_map(|(grantee, permission)| Grant { grantee, permission });
    proptest::collection::vec(grant, 0..=MAX_GRANTS).prop_map(|grants| Acl { grants })
}

proptest! {
    #[test]
    fn a_list_that_was_answered_may_be_sent_back(acl in any_list()) {
        let owner = AccountId::new("aaa");
        let read = read(&write(&owner, "", &acl, &Accounts), &owner, &Accounts).unwrap();
        let mut expected = acl;
        expected.grants.sort_by_key(|grant| grant.grantee.group_uri().is_none());
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_list_in_headers_is_the_list_in_a_document(acl in any_list(), quoted in any::<bool>()) {
        let mut headers: Vec<(&str, String)> = Vec::new();
        let mut expected = Vec::new();
        for (name, permission) in GRANT_HEADERS {
            for grant in acl.grants.iter().filter(|grant| grant.permission == permission) {
                let (kind, value) = match &grant.grantee {
                    Grantee::Account(id) => ("id", id.as_str()),
                    group => ("uri", group.group_uri().unwrap()),
                };
                headers.push((name, if quoted { format!("{kind}=\"{value}\"") } else { format!("{kind}={value}") }));
                expected.push(grant.clone());
            }
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let read = bucket_acl(&headers).unwrap().unwrap_or_default();
        prop_assert_eq!(read.grants, expected);
    }

    #[test]
    fn any_header_is_a_list_or_a_refusal(text in "[a-z]{0,5}[=\", a-z@]{0,30}|(id=\"?bbb\"?[, ]{0,2}){0,3}") {
        if let Err(error) = bucket_acl(&[("x-amz-grant-read", &text)]) {
            assert!(
                [S3Code::InvalidArgument, S3Code::UnresolvableGrantByEmailAddress].contains(&error.code),
                "{text}"
            );
        }
    }
}
