//! The suites against a store of somebody else's: `FAR_S3=host:port` names it, `FAR_S3_KEYS=access:secret` who we are,
//! `FAR_S3_FLAVOR=google` that it speaks as Google Cloud Storage does. Buckets `suite-versions` and `suite-nothing` are
//! made there. `make compat` runs them (`tests/compat/test_far_stores.py`, `test_gcs.py`).

use std::{net::SocketAddr, sync::Arc};

use cloudserver::{
    data::{
        DataBackend,
        conformance::{native_suite, suite},
    },
    s3client::{Call, Flavor, Retry},
};
use http::Method;

use crate::far::{BOTH, Keeps, backend, client, enable_versions};

async fn far_bucket(keeps: Keeps) -> Arc<dyn DataBackend> {
    let address: SocketAddr = std::env::var("FAR_S3").unwrap().parse().unwrap();
    let name = if keeps == Keeps::Versions { "suite-versions" } else { "suite-nothing" };
    let client = client(address, Retry::default());
    // It may be there from another run.
    client.send(Call::new(Method::PUT, Some(name), None)).await.ok();
    // Google's objects have generations without being told to.
    if keeps == Keeps::Versions && client.endpoint().flavor == Flavor::Aws {
        enable_versions(&client, name).await;
    }
    backend(address, name, keeps)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs another store, named by FAR_S3"]
async fn a_foreign_bucket_is_a_data_backend() {
    for keeps in BOTH {
        suite(far_bucket(keeps).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs another store, named by FAR_S3"]
async fn a_foreign_bucket_is_a_native_store() {
    for keeps in BOTH {
        native_suite(far_bucket(keeps).await).await;
    }
}
