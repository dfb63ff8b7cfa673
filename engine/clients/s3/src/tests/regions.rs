//! A bucket in another region than the configuration says: the store names the right one, and is asked there.

use std::sync::{Arc, Mutex};

use jm_step::{Environment, OpenContext, RunId, Secrets};

use super::copies::{error, scripted};
use super::stores::{Store, stores};
use crate::{Config, S3Bucket};

async fn followed(config: &Config) -> (S3Bucket, Option<String>) {
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: Environment::default(),
        run: RunId::generate(),
    };
    S3Bucket::open_where_it_is(config, &cx).await.expect("a client")
}

#[tokio::test]
async fn the_region_that_the_store_names_is_followed() {
    let malformed = || {
        let words = "The authorization header is malformed; the region 'us-east-1' is wrong";
        error("AuthorizationHeaderMalformed", words).replace("</Error>", "<Region>eu-central-1</Region></Error>")
    };
    for (name, head) in [
        ("moved", "301 Moved Permanently\r\nx-amz-bucket-region: eu-central-1"),
        ("malformed", "400 Bad Request\r\nx-amz-bucket-region: eu-central-1"),
        ("without a header", "400 Bad Request"),
    ] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let address = scripted(asked.clone(), move |line, number| match (number, line) {
            (0, _) => (head, String::new()),
            (_, line) if line.starts_with("GET") => ("400 Bad Request", malformed()),
            _ => ("200 OK\r\nx-amz-bucket-region: eu-central-1", String::new()),
        });
        let config = Store::at(name, address.await).config("b");
        let (bucket, region) = followed(&config).await;
        assert_eq!(region.as_deref(), Some("eu-central-1"), "{name}");
        let signed = bucket.0.client.config().region().map(ToString::to_string);
        assert_eq!(signed.as_deref(), Some("eu-central-1"), "{name}");
        bucket.ping().await.expect("it answers there");
    }
}

#[tokio::test]
async fn what_names_no_region_is_asked_as_it_was_said() {
    for (status, body) in [
        ("404 Not Found\r\nx-amz-bucket-region: eu-central-1", String::new()),
        ("400 Bad Request\r\nx-amz-bucket-region: us-east-1", String::new()),
        ("400 Bad Request\r\nx-amz-bucket-region: evil.example/", String::new()),
        ("400 Bad Request", error("InvalidRequest", "no")),
        ("503 Slow Down", error("SlowDown", "no")),
    ] {
        let address = scripted(Arc::default(), move |_, _| (status, body.clone())).await;
        let (_, region) = followed(&Store::at(status, address).config("b")).await;
        assert_eq!(region, None, "{status}");
    }
}

/// Versitygw is in `us-east-1` and refuses requests that are signed for another region.
#[tokio::test]
async fn a_real_store_is_found_in_its_region() {
    for store in stores().await {
        store.bucket("elsewhere").await;
        let config = Config {
            region: Some("eu-central-1".to_owned()),
            ..store.config("elsewhere")
        };
        let (bucket, region) = followed(&config).await;
        bucket
            .ping()
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", store.name));
        let followed = region.as_deref() == Some("us-east-1");
        assert_eq!(followed, store.name == "versitygw", "{}: {region:?}", store.name);
    }
}
