//! Buckets whose readers pay.

use super::{ALL, policy, statement};
use crate::support::{
    client::Client,
    world::{World, refused},
};

async fn payer(client: &Client, who: &str) {
    let document = format!("<RequestPaymentConfiguration><Payer>{who}</Payer></RequestPaymentConfiguration>");
    client.put("/paid?requestPayment", document).digested().expect(200).await;
}

#[tokio::test]
async fn whoever_is_not_the_owner_must_say_that_it_pays() {
    let world = World::new().await;
    let bart = world.bucket("paid").await;
    bart.put("/paid/a", "body").expect(200).await;
    policy(&bart, "paid", &statement("Allow", ALL, "s3:*", "paid")).expect(204).await;
    bart.get("/paid?requestPayment").expect(200).await.with("Payer", "BucketOwner");
    payer(&bart, "Requester").await;
    bart.get("/paid?requestPayment").expect(200).await.with("Payer", "Requester");
    let (lisa, nobody) = (world.lisa(), world.nobody());
    let paying = ("x-amz-request-payer", "requester");
    for target in ["/paid/a", "/paid?list-type=2", "/paid?versions", "/paid/a?acl", "/paid/a?tagging"] {
        lisa.get(target).refused(403, "AccessDenied").await;
        lisa.get(target).header(paying.0, "owner").refused(403, "AccessDenied").await;
        lisa.get(target).headers(&[paying]).expect(200).await.has("x-amz-request-charged", "requester");
        // Nobody cannot be charged.
        nobody.get(target).headers(&[paying]).refused(403, "AccessDenied").await;
        let reply = bart.get(target).headers(&[paying]).expect(200).await;
        assert_eq!(reply.header("x-amz-request-charged"), None, "{reply}");
    }
    lisa.get("/paid/a?x-amz-request-payer=requester").expect(200).await;
    lisa.put("/paid/b", "body").refused(403, "AccessDenied").await;
    lisa.put("/paid/b", "body").headers(&[paying]).expect(200).await.has("x-amz-request-charged", "requester");
    let document = "<Delete><Object><Key>b</Key></Object></Delete>";
    let delete = lisa.post("/paid?delete", document).digested();
    delete.clone().expect(200).await.with("Code", "AccessDenied");
    delete.headers(&[paying]).expect(200).await.with("Key", "b").has("x-amz-request-charged", "requester");
    // The source of a copy is paid for, too.
    lisa.put("/lisas", "").expect(200).await;
    let copy = lisa.put("/lisas/a", "").header("x-amz-copy-source", "/paid/a");
    copy.clone().refused(403, "AccessDenied").await;
    copy.headers(&[paying]).expect(200).await;

    payer(&bart, "BucketOwner").await;
    let reply = lisa.get("/paid/a").headers(&[paying]).expect(200).await;
    assert_eq!(reply.header("x-amz-request-charged"), None, "{reply}");
    nobody.get("/paid/a").expect(200).await;
    for bad in ["<Payer>Somebody</Payer>", "", "<Payer/>", "<Payer>Requester</Payer><Payer>Requester</Payer>"] {
        let document = format!("<RequestPaymentConfiguration>{bad}</RequestPaymentConfiguration>");
        refused(&world, bart.put("/paid?requestPayment", document).digested(), 400, "MalformedXML").await;
    }
}
