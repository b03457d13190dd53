//! Opens locations in other S3 stores: `aws_s3` and `gcp`.

use std::{path::PathBuf, sync::Arc};

use super::{StartError, outbound::client_options};
use crate::{
    clock::SystemClock,
    config::{Config, Environment, Location, LocationKind},
    data::{AwsS3Backend, AwsS3Options, DataBackend},
    outbound::HttpClient,
    s3client::{Credentials, Endpoint, Flavor, S3Client},
};

/// The backend of a location. Nothing is asked of the far side yet.
pub(super) fn open(config: &Config, location: &Location) -> Result<Arc<dyn DataBackend>, StartError> {
    let details = &location.details;
    let bucket = details.text("bucketName").filter(|name| !name.is_empty());
    let bucket = bucket.ok_or_else(|| refuse(location, "details.bucketName is missing: name the far bucket"))?;
    let http = HttpClient::new(client_options(config, location.kind)?);
    let credentials = credentials(location, &config.launch.environment)?;
    let client = S3Client::new(http, endpoint(location), credentials, Arc::new(SystemClock));
    let options = AwsS3Options {
        bucket: bucket.to_owned(),
        bucket_match: details.flag("bucketMatch").unwrap_or(false),
        versioned: details.flag("supportsVersioning").unwrap_or(true),
        server_side_encryption: details.flag("serverSideEncryption").unwrap_or(false),
    };
    Ok(Arc::new(AwsS3Backend::new(client, options)))
}

fn refuse(location: &Location, problem: impl Into<String>) -> StartError {
    StartError::Location { name: location.name.clone(), problem: problem.into() }
}

fn endpoint(location: &Location) -> Endpoint {
    let details = &location.details;
    let gcs = location.kind == LocationKind::Gcp;
    let (key, default) =
        if gcs { ("gcpEndpoint", "storage.googleapis.com") } else { ("awsEndpoint", "s3.amazonaws.com") };
    let authority = details.text(key).filter(|text| !text.is_empty()).unwrap_or(default).to_owned();
    let region = details.text("region").filter(|text| !text.is_empty()).map(str::to_owned);
    let region = region.unwrap_or_else(|| if gcs { "auto" } else { region_of(&authority) }.to_owned());
    Endpoint {
        https: details.flag("https").unwrap_or(true),
        path_style: details.flag("pathStyle").unwrap_or(gcs),
        flavor: if gcs { Flavor::Gcs } else { Flavor::Aws },
        authority,
        region,
    }
}

/// The region in a host name of Amazon's or Backblaze's: `s3.eu-west-1.amazonaws.com`, `s3-eu-west-1.amazonaws.com`,
/// `s3.us-west-004.backblazeb2.com`.
fn region_of(authority: &str) -> &str {
    let host = authority.split(':').next().unwrap_or_default();
    let ends = [".amazonaws.com", ".amazonaws.com.cn", ".backblazeb2.com"];
    let names = ends.iter().find_map(|end| host.strip_suffix(end));
    let region = names.and_then(|names| names.strip_prefix("s3.").or_else(|| names.strip_prefix("s3-")));
    let region = region.map(|region| region.strip_prefix("dualstack.").unwrap_or(region));
    region.filter(|region| !region.is_empty()).unwrap_or("us-east-1")
}

/// A profile wins over keys in the details, as in the original; without both, the variables that Amazon's own tools
/// read.
fn credentials(location: &Location, environment: &Environment) -> Result<Credentials, StartError> {
    let details = &location.details;
    if let Some(profile) = details.text("credentialsProfile").filter(|name| !name.is_empty()) {
        let file = environment.get("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
        let home = || environment.get("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
        let file = file.or_else(home);
        let file =
            file.ok_or_else(|| refuse(location, "credentialsProfile needs HOME or AWS_SHARED_CREDENTIALS_FILE"))?;
        return Credentials::of_profile(&file, profile).map_err(|error| refuse(location, error.to_string()));
    }
    let given = details.get("credentials");
    let text = |key| given.and_then(|given| given.get(key)).and_then(serde_json::Value::as_str);
    if let (Some(access), Some(secret)) = (text("accessKey"), text("secretKey")) {
        return Ok(Credentials::new(access, secret));
    }
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| environment.get(name));
    if let [Some(access), Some(secret)] = names {
        return Ok(Credentials::new(access, secret).with_token(environment.get("AWS_SESSION_TOKEN")));
    }
    Err(refuse(
        location,
        "no credentials: write details.credentials, details.credentialsProfile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_read_from_known_host_names_only() {
        for (host, region) in [
            ("s3.amazonaws.com", "us-east-1"),
            ("s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("s3-eu-central-1.amazonaws.com:443", "eu-central-1"),
            ("s3.dualstack.ap-south-1.amazonaws.com", "ap-south-1"),
            ("s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("s3.us-west-004.backblazeb2.com", "us-west-004"),
            ("s3.far.test:9000", "us-east-1"),
        ] {
            assert_eq!(region_of(host), region, "{host}");
        }
    }
}
