//! Configurations with ids: analytics, intelligent tiering, inventory, metrics.

use crate::support::{
    client::Client,
    world::{World, refused},
};

/// A kind: its sub-resource, root element, and a good document but for the id.
const KINDS: [(&str, &str, &str); 4] = [
    ("analytics", "AnalyticsConfiguration", "<StorageClassAnalysis/>"),
    (
        "intelligent-tiering",
        "IntelligentTieringConfiguration",
        "<Status>Enabled</Status><Tiering><Days>90</Days><AccessTier>ARCHIVE_ACCESS</AccessTier></Tiering>",
    ),
    (
        "inventory",
        "InventoryConfiguration",
        "<Destination><S3BucketDestination><Bucket>arn:aws:s3:::there</Bucket><Format>CSV</Format>\
         </S3BucketDestination></Destination><IsEnabled>true</IsEnabled>\
         <IncludedObjectVersions>All</IncludedObjectVersions><Schedule><Frequency>Daily</Frequency></Schedule>",
    ),
    ("metrics", "MetricsConfiguration", "<Filter><Prefix>a/</Prefix></Filter>"),
];

fn document(root: &str, id: &str, inner: &str) -> String {
    format!("<{root}><Id>{id}</Id>{inner}</{root}>")
}

async fn put(bart: &Client, (sub, root, inner): (&str, &str, &str), id: &str) {
    bart.put(&format!("/conf?{sub}&id={id}"), document(root, id, inner)).expect(200).await;
}

#[tokio::test]
async fn each_kind_is_put_shown_listed_replaced_and_removed() {
    let world = World::new().await;
    let bart = world.bucket("conf").await;
    for kind in KINDS {
        let (sub, root, inner) = kind;
        let one = format!("/conf?{sub}&id=one");
        bart.get(&one).refused(404, "NoSuchConfiguration").await;
        bart.delete(&one).refused(404, "NoSuchConfiguration").await;
        let empty = bart.get(&format!("/conf?{sub}")).expect(200).await;
        assert_eq!((empty.tag("IsTruncated").as_deref(), empty.tags("Id").len()), (Some("false"), 0), "{sub}");
        put(&bart, kind, "two").await;
        put(&bart, kind, "one").await;
        put(&bart, kind, "one").await;
        let shown = bart.get(&one).expect(200).await;
        assert_eq!(shown.tag("Id").as_deref(), Some("one"), "{shown}");
        for element in inner.split('<').filter_map(|part| part.split(['>', '/']).next()).filter(|name| !name.is_empty())
        {
            assert!(shown.text().contains(&format!("<{element}")), "{element} in {shown}");
        }
        let listed = bart.get(&format!("/conf?{sub}")).expect(200).await;
        assert_eq!((listed.tags("Id"), listed.elements(root).len()), (vec!["one".into(), "two".into()], 2), "{sub}");
        bart.delete(&one).expect(204).await;
        bart.get(&one).refused(404, "NoSuchConfiguration").await;
        bart.get(&format!("/conf?{sub}&id=two")).expect(200).await;
    }
}

#[tokio::test]
async fn a_document_without_its_shape_or_with_another_id_changes_nothing() {
    let world = World::new().await;
    let bart = world.bucket("conf").await;
    let put = |sub: &str, body: String| bart.put(&format!("/conf?{sub}&id=x"), body);
    for (sub, root, inner) in KINDS {
        let good = document(root, "x", inner);
        put(sub, good.clone()).expect(200).await;
        refused(&world, put(sub, document("Other", "x", inner)), 400, "MalformedXML").await;
        refused(&world, put(sub, document(root, "x", &format!("{inner}<Other/>"))), 400, "MalformedXML").await;
        refused(&world, put(sub, document(root, "y", inner)), 400, "InvalidArgument").await;
        refused(&world, put(sub, String::new()), 400, "MissingRequestBodyError").await;
        let long = "a".repeat(65);
        for id in ["", "a/b", long.as_str()] {
            let call = bart.put(&format!("/conf?{sub}&id={id}"), document(root, id, inner));
            refused(&world, call, 400, "InvalidArgument").await;
        }
        refused(&world, bart.put(&format!("/conf?{sub}"), good.clone()), 400, "InvalidArgument").await;
        for client in [world.lisa(), world.nobody()] {
            refused(&world, client.put(&format!("/conf?{sub}&id=x"), good.clone()), 403, "AccessDenied").await;
            refused(&world, client.get(&format!("/conf?{sub}&id=x")), 403, "AccessDenied").await;
            refused(&world, client.get(&format!("/conf?{sub}")), 403, "AccessDenied").await;
            refused(&world, client.delete(&format!("/conf?{sub}&id=x")), 403, "AccessDenied").await;
        }
    }
}

#[tokio::test]
async fn values_that_s3_refuses_are_refused() {
    let world = World::new().await;
    let bart = world.bucket("conf").await;
    let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
    let tiering =
        |days: u32, tier: &str| format!("<Tiering><Days>{days}</Days><AccessTier>{tier}</AccessTier></Tiering>");
    let [(_, _, analysis), _, (_, _, inventory), _] = KINDS;
    for (index, inner, code) in [
        (0, format!("{analysis}<Filter/>"), "MalformedXML"),
        (0, format!("{analysis}<Filter><Prefix/>{tag}</Filter>"), "MalformedXML"),
        (0, format!("{analysis}<Filter><And>{tag}</And></Filter>"), "MalformedXML"),
        (0, format!("{analysis}<Filter><And>{tag}{tag}</And></Filter>"), "InvalidRequest"),
        (1, format!("<Status>On</Status>{}", tiering(90, "ARCHIVE_ACCESS")), "MalformedXML"),
        (1, "<Status>Enabled</Status>".to_owned(), "MalformedXML"),
        (1, format!("<Status>Enabled</Status>{}", tiering(89, "ARCHIVE_ACCESS")), "InvalidArgument"),
        (1, format!("<Status>Enabled</Status>{}", tiering(179, "DEEP_ARCHIVE_ACCESS")), "InvalidArgument"),
        (1, format!("<Status>Enabled</Status>{}", tiering(731, "ARCHIVE_ACCESS")), "InvalidArgument"),
        (1, format!("<Status>Enabled</Status>{}", tiering(90, "ARCHIVE_ACCESS").repeat(2)), "InvalidRequest"),
        (2, inventory.replace("Daily", "Hourly"), "MalformedXML"),
        (2, inventory.replace("CSV", "XLS"), "MalformedXML"),
        (2, inventory.replace("CSV", "ORC"), "NotImplemented"),
        (2, inventory.replace("CSV", "Parquet"), "NotImplemented"),
        (2, inventory.replace("arn:aws:s3:::there", "there"), "InvalidArgument"),
        (2, format!("{inventory}<OptionalFields><Field>Colour</Field></OptionalFields>"), "MalformedXML"),
        (
            2,
            format!("{inventory}<OptionalFields><Field>Size</Field><Field>Size</Field></OptionalFields>"),
            "InvalidRequest",
        ),
        (2, inventory.replace("</S3BucketDestination>", "<Encryption/></S3BucketDestination>"), "MalformedXML"),
        (3, "<Filter><AccessPointArn>x</AccessPointArn></Filter>".to_owned(), "InvalidArgument"),
        (3, format!("<Filter>{}</Filter>", tag.replace('k', "aws:k")), "InvalidTag"),
    ] {
        let (sub, root, _) = KINDS[index];
        let status = if code == "NotImplemented" { 501 } else { 400 };
        refused(&world, bart.put(&format!("/conf?{sub}&id=x"), document(root, "x", &inner)), status, code).await;
    }
}

#[tokio::test]
async fn a_thousand_of_a_kind_are_kept_and_listed_by_the_hundred() {
    let world = World::new().await;
    let bart = world.bucket("conf").await;
    let kind = KINDS[3];
    for number in 0..1000 {
        put(&bart, kind, &format!("id-{number:04}")).await;
    }
    let (sub, root, inner) = kind;
    let more = bart.put(&format!("/conf?{sub}&id=more"), document(root, "more", inner));
    refused(&world, more.clone(), 400, "TooManyConfigurations").await;
    // The limit is that of a kind, and replacing one is no new one.
    put(&bart, kind, "id-0500").await;
    put(&bart, KINDS[0], "other").await;
    let (mut ids, mut token) = (Vec::new(), None::<String>);
    loop {
        let target =
            token.map_or_else(|| "/conf?metrics".to_owned(), |it| format!("/conf?metrics&continuation-token={it}"));
        let page = bart.get(&target).expect(200).await;
        let found = page.tags("Id");
        assert!(found.len() <= 100);
        ids.extend(found);
        token = page.tag("NextContinuationToken");
        assert_eq!(token.is_some(), page.tag("IsTruncated").as_deref() == Some("true"));
        if token.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..1000).map(|number| format!("id-{number:04}")).collect();
    assert_eq!(ids, expected);
    bart.get("/conf?metrics&continuation-token=*").refused(400, "InvalidArgument").await;
    bart.delete("/conf?metrics&id=id-0000").expect(204).await;
    more.expect(200).await;
    // A bucket's settings go with it: made again, it has none.
    bart.delete("/conf").expect(204).await;
    world.drained().await;
    bart.put("/conf", "").expect(200).await;
    assert!(bart.get("/conf?metrics").expect(200).await.tags("Id").is_empty());
}
