//! Every error code of S3 that this server answers: one line each, with status and message.

use http::StatusCode;

macro_rules! s3_codes {
    ($($name:ident $(as $wire:literal)? = $status:literal, $message:literal;)*) => {
        /// An error code of the S3 reference ("Error responses").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum S3Code {
            $(#[doc = concat!("`", stringify!($name), "`: ", stringify!($status), ".")] $name,)*
        }

        impl S3Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as clients see it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => [$($wire,)? stringify!($name)][0],)* }
            }

            /// The message where a case has no better one.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                let number: u16 = match self { $(Self::$name => $status,)* };
                StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    };
}

s3_codes! {
    AccessControlListNotSupported = 400, "The bucket does not allow ACLs";
    AccessDenied = 403, "Access Denied";
    AccessForbidden = 403, "CORSResponse: This CORS request is not allowed.";
    AnnotationLimitExceeded = 400, "The object has the maximum number of annotations.";
    AnnotationNameTooLong = 400, "The name of an annotation may have at most 512 bytes.";
    AuthorizationHeaderMalformed = 400, "The authorization header you provided is invalid.";
    AuthorizationQueryParametersError = 400, "Error parsing the X-Amz-Credential parameter.";
    BadDigest = 400, "The Content-MD5 or checksum value that you specified did not match what the server received.";
    BadRequest = 400, "Bad Request";
    BucketAlreadyExists = 409, "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.";
    BucketAlreadyOwnedByYou = 409, "Your previous request to create the named bucket succeeded and you already own it.";
    BucketNotEmpty = 409, "The bucket you tried to delete is not empty.";
    ConditionalRequestConflict = 409, "The conditional request cannot succeed due to a conflicting operation against this resource.";
    EntityTooLarge = 400, "Your proposed upload exceeds the maximum allowed object size.";
    EntityTooSmall = 400, "Your proposed upload is smaller than the minimum allowed object size.";
    ExpiredToken = 400, "The provided token has expired.";
    IdempotencyParameterMismatch = 400, "The client token was used before with other parameters.";
    IllegalVersioningConfigurationException = 400, "The versioning configuration specified in the request is invalid.";
    IncompleteBody = 400, "You did not provide the number of bytes specified by the Content-Length HTTP header.";
    InternalError = 500, "We encountered an internal error. Please try again.";
    InvalidAccessKeyId = 403, "The AWS access key Id you provided does not exist in our records.";
    InvalidAnnotationName = 400, "The annotation name you provided is invalid.";
    InvalidArgument = 400, "Invalid Argument";
    InvalidBucketAclWithObjectOwnership = 400, "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
    InvalidBucketName = 400, "The specified bucket is not valid.";
    InvalidBucketState = 409, "The request is not valid for the current state of the bucket.";
    InvalidChunkSizeError = 400, "Only the last chunk is allowed to have a size less than 8192 bytes";
    InvalidDigest = 400, "The Content-MD5 you specified is not valid.";
    InvalidEncryptionAlgorithmError = 400, "The encryption request you specified is not valid. Supported value: AES256.";
    InvalidLocationConstraint = 400, "The specified location-constraint is not valid";
    InvalidObjectState = 403, "The operation is not valid for the object's storage class";
    InvalidPart = 400, "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
    InvalidPartNumber = 416, "The requested partnumber is not satisfiable.";
    InvalidPartOrder = 400, "The list of parts was not in ascending order. Parts must be ordered by part number.";
    InvalidPolicyDocument = 400, "The content of the form does not meet the conditions specified in the policy document.";
    InvalidPrefix = 400, "The prefix you provided is invalid.";
    InvalidRange = 416, "The requested range is not satisfiable";
    InvalidRedirectLocation = 400, "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.";
    InvalidRequest = 400, "Invalid Request";
    InvalidRetentionPeriod = 400, "The retention period you specified is not valid.";
    InvalidStorageClass = 400, "The storage class you specified is not valid";
    InvalidTag = 400, "The tag provided was not a valid tag.";
    InvalidTargetBucketForLogging = 400, "The target bucket for logging does not exist, is not owned by you, or does not have the appropriate grants for the log-delivery group.";
    InvalidToken = 400, "The provided token is malformed or otherwise invalid.";
    InvalidURI = 400, "Could not parse the specified URI. Check your restEndpoints configuration.";
    InvalidWriteOffset = 400, "The write offset value that you specified does not match the current object size.";
    KeyTooLongError = 400, "Your key is too long";
    KmsNotFoundException as "KMS.NotFoundException" = 400, "The key that the request or the bucket names does not exist.";
    LocationNotFound = 424, "The object data location does not exist.";
    MalformedACLError = 400, "The XML you provided was not well-formed or did not validate against our published schema";
    MalformedPOSTRequest = 400, "The body of your POST request is not well-formed multipart/form-data.";
    MalformedPolicy = 400, "Policies must be valid JSON and the first byte must be '{'";
    MalformedTrailerError = 400, "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    MalformedXML = 400, "The XML you provided was not well-formed or did not validate against our published schema";
    MaxMessageLengthExceeded = 400, "Your request was too big.";
    MaxPostPreDataLengthExceededError = 400, "Your POST request fields preceding the upload file were too large.";
    MetadataTooLarge = 400, "Your metadata headers exceed the maximum allowed metadata size";
    MethodNotAllowed = 405, "The specified method is not allowed against this resource.";
    MissingContentLength = 411, "You must provide the Content-Length HTTP header.";
    MissingRequestBodyError = 400, "Request body is empty.";
    MissingSecurityHeader = 400, "Your request was missing a required header.";
    NoSuchAnnotation = 404, "The specified annotation does not exist on this object.";
    NoSuchBucket = 404, "The specified bucket does not exist";
    NoSuchBucketPolicy = 404, "The bucket policy does not exist";
    NoSuchCORSConfiguration = 404, "The CORS configuration does not exist";
    NoSuchConfiguration = 404, "The specified configuration does not exist.";
    NoSuchKey = 404, "The specified key does not exist.";
    NoSuchLifecycleConfiguration = 404, "The lifecycle configuration does not exist";
    NoSuchQuota = 404, "The specified bucket does not have a quota.";
    NoSuchPublicAccessBlockConfiguration = 404, "The public access block configuration was not found";
    NoSuchTagSet = 404, "The TagSet does not exist";
    NoSuchObjectLockConfiguration = 404, "The specified object does not have a ObjectLock configuration";
    NoSuchUpload = 404, "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    NoSuchVersion = 404, "The specified version does not exist.";
    NoSuchWebsiteConfiguration = 404, "The specified bucket does not have a website configuration";
    NotImplemented = 501, "A header or query you provided implies functionality that is not implemented.";
    OperationAborted = 409, "A conflicting conditional operation is currently in progress against this resource. Please try again.";
    OwnershipControlsNotFoundError = 404, "The bucket ownership controls were not found";
    ObjectLockConfigurationNotFoundError = 404, "Object Lock configuration does not exist for this bucket";
    PreconditionFailed = 412, "At least one of the pre-conditions you specified did not hold";
    ReplicationConfigurationNotFoundError = 404, "The replication configuration was not found";
    QuotaExceeded = 429, "The bucket's quota has been exceeded.";
    RequestHeaderSectionTooLarge = 400, "Your request header section exceeds the maximum allowed request header section size.";
    RequestTimeout = 400, "Your socket connection to the server was not read from or written to within the timeout period.";
    RequestTimeTooSkewed = 403, "The difference between the request time and the server's time is too large.";
    ServerSideEncryptionConfigurationNotFoundError = 404, "The server side encryption configuration was not found";
    ServiceUnavailable = 503, "Service is unable to handle request.";
    SignatureDoesNotMatch = 403, "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    SlowDown = 503, "Please reduce your request rate.";
    TooManyConfigurations = 400, "You are attempting to create a new configuration but have already reached the 1,000-configuration limit.";
    TooManyParts = 400, "The object has the maximum number of parts.";
    UnresolvableGrantByEmailAddress = 400, "The e-mail address you provided does not match any account on record.";
    UnsupportedMediaType = 415, "The payload of an annotation must be UTF-8 text.";
    ValidationError = 400, "The specified value is invalid.";
    XAmzContentSHA256Mismatch = 400, "The provided 'x-amz-content-sha256' header does not match what was computed.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_an_error() {
        for code in S3Code::ALL {
            let status = code.status();
            assert!(status.is_client_error() || status.is_server_error(), "{code:?}");
            assert!(!code.message().is_empty(), "{code:?}");
        }
    }
}
