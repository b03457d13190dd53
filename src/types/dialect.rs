//! Whose answers this server gives where AWS and Ceph RGW disagree.

/// The S3 that clients were written for. It decides codes, statuses and leniency of answers, listed in
/// `docs/compatibility.md` ("Dialects"); never what is stored, nor who may do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As AWS.
    #[default]
    Aws,
    /// As Ceph RGW, in the points that ceph/s3-tests states.
    Ceph,
}

impl Dialect {
    /// The dialect of this name: `aws` or `ceph`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Aws, Self::Ceph].into_iter().find(|dialect| dialect.as_str() == name)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        self.pick("aws", "ceph")
    }

    /// Of two answers the one that this dialect gives.
    pub const fn pick<T: Copy>(self, aws: T, ceph: T) -> T {
        match self {
            Self::Aws => aws,
            Self::Ceph => ceph,
        }
    }

    /// Whether this is Ceph's.
    pub const fn is_ceph(self) -> bool {
        matches!(self, Self::Ceph)
    }
}
