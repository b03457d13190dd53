use proptest::prelude::*;

use super::*;

/// Values of the algorithms over "", "123456789" and [`long`], computed by Python's hashlib, zlib and xxhash and, for
/// the two CRCs that Python lacks, bit by bit from the polynomial.
const VECTORS: [(ChecksumAlgorithm, [&str; 3]); 10] = [
    (ChecksumAlgorithm::Crc32, ["AAAAAA==", "y/Q5Jg==", "9yLQ1Q=="]),
    (ChecksumAlgorithm::Crc32c, ["AAAAAA==", "4waSgw==", "kcAa4g=="]),
    (ChecksumAlgorithm::Crc64Nvme, ["AAAAAAAAAAA=", "rosUhgp5mIg=", "tqVdn9BYu/c="]),
    (
        ChecksumAlgorithm::Sha1,
        ["2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "98O8HYCOBHMq32eZZczDTKeuNEE=", "J1s2QKFd6DKBn5bixFZQE8x2Cd4="],
    ),
    (
        ChecksumAlgorithm::Sha256,
        [
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
            "6zbI409Y7R6KKKkt8XrHfaand9EkY+FzUb/XbB/Lbkk=",
        ],
    ),
    (
        ChecksumAlgorithm::Sha512,
        [
            "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
            "2eZ2LdHI6vbWGzxhkvxAjU1tXxF20MKRabwk5xw/J0rSf81YEbMT1oH35V7ALXPUmclUVba1u1A6z1dPuo/+hQ==",
            "shAAE+oNK7Mp4r/PK86WCafT72zfbTTt3VUzbwVNUA/zOxZ44SV0MFXnNc/bZbhZEAVSVKhNzBeYplTrw4QShA==",
        ],
    ),
    (ChecksumAlgorithm::Md5, ["1B2M2Y8AsgTpgAmY7PhCfg==", "JfnnlDI7RTiF9RgfG2JNCw==", "d+yllqtaxdq5AwGnALNFyQ=="]),
    (ChecksumAlgorithm::XxHash64, ["70bbN1HY6Zk=", "jLhB20DmroM=", "SKofmDcdlJU="]),
    (ChecksumAlgorithm::XxHash3, ["LQaABTjTlMI=", "ctyxi2ehff8=", "SByobUHgQYs="]),
    (
        ChecksumAlgorithm::XxHash128,
        ["maoG0wFHmNhgAcMkRo1Jfw==", "MxGUd+3l3NXpcWQnaB1YYA==", "j0w1GOZE3cVIHKhtQeBBiw=="],
    ),
];

fn long() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..4).flat_map(|_| 0..=255).collect();
    bytes.extend_from_slice(b"end");
    bytes
}

#[test]
fn every_algorithm_gives_the_published_values() {
    for (algorithm, values) in VECTORS {
        for (bytes, value) in [Vec::new(), b"123456789".to_vec(), long()].iter().zip(values) {
            let checksum = Checksum::of(algorithm, bytes);
            assert_eq!(checksum.to_base64(), value, "{algorithm}");
            assert_eq!(Checksum::parse(algorithm, value), Ok(checksum));
        }
    }
}

#[test]
fn names_headers_and_elements_are_those_of_the_model() {
    for algorithm in ChecksumAlgorithm::ALL {
        assert_eq!(ChecksumAlgorithm::parse(&algorithm.name().to_lowercase()), Some(algorithm));
        assert_eq!(ChecksumAlgorithm::from_header(&algorithm.header().to_uppercase()), Some(algorithm));
        assert_eq!(algorithm.header(), format!("x-amz-checksum-{}", algorithm.name().to_lowercase()));
        assert_eq!(algorithm.xml_element(), format!("Checksum{}", algorithm.name()));
        assert_eq!(Checksum::of(algorithm, b"").value.len(), algorithm.digest_len());
    }
    assert_eq!(ChecksumAlgorithm::parse("CRC64"), None);
    assert_eq!(ChecksumAlgorithm::from_header("x-amz-checksum-type"), None);
    assert_eq!(ChecksumType::parse("full_object"), Some(ChecksumType::FullObject));
}

#[test]
fn only_the_pairings_of_the_reference_are_supported() {
    for algorithm in ChecksumAlgorithm::ALL {
        let full = algorithm.supports(ChecksumType::FullObject);
        let composite = algorithm.supports(ChecksumType::Composite);
        let expected = match algorithm {
            ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => (true, true),
            ChecksumAlgorithm::Crc64Nvme => (true, false),
            _ => (false, true),
        };
        assert_eq!((full, composite), expected, "{algorithm}");
        assert!(algorithm.supports(algorithm.default_type()), "{algorithm}");
        assert_eq!(FullObject::new(algorithm).is_some(), full, "{algorithm}");
    }
    assert_eq!(ChecksumAlgorithm::Crc32.default_type(), ChecksumType::Composite);
}

#[test]
fn a_value_of_the_wrong_length_or_alphabet_is_refused() {
    for bad in ["", "AAAA", "AAAAAA", "AAAAAA=", "AAAAAAA=", "!AAAAA==", "AAAAAB==", " AAAAAA==", "AAAAAAAAAAA="] {
        assert_eq!(
            Checksum::parse(ChecksumAlgorithm::Crc32, bad),
            Err(InvalidChecksum(ChecksumAlgorithm::Crc32)),
            "{bad}"
        );
    }
}

#[test]
fn a_composite_checksum_hashes_the_raw_digests() {
    let parts = [Checksum::of(ChecksumAlgorithm::Sha256, b"one"), Checksum::of(ChecksumAlgorithm::Sha256, b"two")];
    let joined: Vec<u8> = parts.iter().flat_map(|part| part.value.clone()).collect();
    assert_eq!(composite(ChecksumAlgorithm::Sha256, &parts), Checksum::of(ChecksumAlgorithm::Sha256, &joined));
}

#[test]
fn checksums_of_different_algorithms_do_not_combine() {
    let crc32 = Checksum::of(ChecksumAlgorithm::Crc32, b"a");
    let crc32c = Checksum::of(ChecksumAlgorithm::Crc32c, b"b");
    let sha = Checksum::of(ChecksumAlgorithm::Sha1, b"b");
    assert_eq!(combine(&crc32, &crc32c, 1), None);
    assert_eq!(combine(&sha, &sha, 1), None);
}

#[test]
fn a_part_of_many_gigabytes_combines() {
    // 2^40 zero bytes, by doubling: the only way to have a reference value without reading them.
    let mut zeros = Checksum::of(ChecksumAlgorithm::Crc64Nvme, &[0]);
    for power in 0..40 {
        zeros = combine(&zeros, &zeros, 1 << power).expect("one algorithm");
    }
    let whole = combine(&Checksum::of(ChecksumAlgorithm::Crc64Nvme, b"head"), &zeros, 1 << 40).expect("one algorithm");
    let step = combine(&Checksum::of(ChecksumAlgorithm::Crc64Nvme, b"head\0"), &zeros, (1 << 40) - 1);
    assert_ne!(Some(&whole), step.as_ref());
    let mut halves = FullObject::new(ChecksumAlgorithm::Crc64Nvme).expect("a CRC");
    assert!(halves.push(&Checksum::of(ChecksumAlgorithm::Crc64Nvme, b"head"), 4));
    let mut half = Checksum::of(ChecksumAlgorithm::Crc64Nvme, &[0]);
    for power in 0..39 {
        half = combine(&half, &half, 1 << power).expect("one algorithm");
    }
    assert!(halves.push(&half, 1 << 39) && halves.push(&half, 1 << 39));
    assert_eq!(halves.finish(), whole);
}

proptest! {
    #[test]
    fn any_split_gives_the_checksum_of_one_pass(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        cuts in proptest::collection::vec(0_usize..3000, 0..6),
        algorithm in proptest::sample::select(ChecksumAlgorithm::ALL.to_vec()),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();

        let whole = Checksum::of(algorithm, &bytes);
        let mut hasher = ChecksumHasher::new(algorithm);
        for piece in &pieces {
            hasher.update(piece);
        }
        prop_assert_eq!(hasher.finalize(), whole.clone());

        if let Some(mut full) = FullObject::new(algorithm) {
            for piece in &pieces {
                prop_assert!(full.push(&Checksum::of(algorithm, piece), piece.len() as u64));
            }
            prop_assert_eq!(full.finish(), whole);
        }
    }

    #[test]
    fn reading_a_value_never_panics(text in ".{0,100}", algorithm in proptest::sample::select(ChecksumAlgorithm::ALL.to_vec())) {
        if let Ok(checksum) = Checksum::parse(algorithm, &text) {
            prop_assert_eq!(checksum.to_base64(), text);
        }
    }
}
