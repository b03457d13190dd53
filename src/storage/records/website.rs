//! The website of a bucket.

/// A website configuration (S3 reference, "`WebsiteConfiguration`"). Either `redirect_all` is set, or `index` is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WebsiteRecord {
    /// Every request is sent elsewhere.
    #[prost(message, optional, tag = "1")]
    pub redirect_all: Option<RedirectRecord>,
    /// What is appended to keys that are empty or end with `/`; never empty, never with a `/`.
    #[prost(string, tag = "2")]
    pub index: String,
    /// Key of the object shown with errors; empty for none.
    #[prost(string, tag = "3")]
    pub error_key: String,
    /// Rules, in the client's order.
    #[prost(message, repeated, tag = "4")]
    pub rules: Vec<RoutingRuleRecord>,
}

/// Which requests are sent elsewhere, and where.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoutingRuleRecord {
    /// Keys begin with this.
    #[prost(string, optional, tag = "1")]
    pub prefix: Option<String>,
    /// The request failed with this status, 400 to 599.
    #[prost(uint32, optional, tag = "2")]
    pub error_status: Option<u32>,
    /// Where to.
    #[prost(message, optional, tag = "3")]
    pub redirect: Option<RedirectRecord>,
}

/// Another address. What is not given stays as the request had it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RedirectRecord {
    /// Host name, perhaps with a port.
    #[prost(string, optional, tag = "1")]
    pub host: Option<String>,
    /// `http` or `https`.
    #[prost(string, optional, tag = "2")]
    pub protocol: Option<String>,
    /// Replaces the key.
    #[prost(string, optional, tag = "3")]
    pub key: Option<String>,
    /// Replaces the prefix that the rule asks for.
    #[prost(string, optional, tag = "4")]
    pub key_prefix: Option<String>,
    /// A redirection status, 301 to 399; 301 where none is given.
    #[prost(uint32, optional, tag = "5")]
    pub status: Option<u32>,
}
