//! Follows the chunked coding to the end of a body.
//!
//! hyper decodes it; this only knows, byte for byte, where it ends, so that what follows is looked at as a head. It
//! accepts less than hyper does, never more: both see the same end or none.

/// Where in the coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the hexadecimal digits of a chunk's size, of which so many have come.
    Size(u8),
    /// In an extension, which runs to the line's end.
    Extension,
    /// Before the line feed that ends the size line.
    SizeEnd,
    /// In a chunk's bytes.
    Data,
    /// Before the carriage return and the line feed after a chunk's bytes.
    DataReturn,
    DataEnd,
    /// At the start of a trailer line, which is the last one if empty.
    TrailerStart,
    Trailer,
    TrailerEnd,
    LastEnd,
}

/// A chunked body on its way.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Chunked {
    at: At,
    /// Bytes of the current chunk still to come.
    left: u64,
}

/// What became of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Followed {
    /// Bytes that belong to the body.
    pub(in crate::http) taken: usize,
    /// Payload among them.
    pub(in crate::http) payload: u64,
    /// Whether the body is over, goes on, or is broken after `taken`.
    pub(in crate::http) state: State,
}

/// Whether a body goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum State {
    More,
    Over,
    Broken,
}

impl Default for Chunked {
    fn default() -> Self {
        Self { at: At::Size(0), left: 0 }
    }
}

impl Chunked {
    /// Follows the coding through `bytes`.
    pub(in crate::http) fn follow(&mut self, bytes: &[u8]) -> Followed {
        let mut rest = bytes;
        let mut payload = 0;
        let state = loop {
            if self.at == At::Data {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                rest = rest.get(here..).unwrap_or_default();
                self.left -= here as u64;
                payload += here as u64;
                if self.left == 0 {
                    self.at = At::DataReturn;
                }
            }
            let Some((byte, behind)) = rest.split_first() else { break State::More };
            match self.step(*byte) {
                Some(true) => {
                    rest = behind;
                    break State::Over;
                }
                Some(false) => rest = behind,
                None => break State::Broken,
            }
        };
        Followed { taken: bytes.len() - rest.len(), payload, state }
    }

    /// Takes one byte outside of a chunk's data; `true` at the end of the body, nothing where it is broken.
    fn step(&mut self, byte: u8) -> Option<bool> {
        self.at = match (self.at, byte) {
            // Sixteen digits fill 64 bits; leading zeros count, too.
            (At::Size(digits @ 0..16), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16)?;
                self.left = self.left << 4 | u64::from(digit);
                At::Size(digits + 1)
            }
            (At::Size(1..) | At::Extension, b'\r') => At::SizeEnd,
            (At::Size(1..), b';') | (At::Extension, b'\t' | b' '..=b'~' | 0x80..) => At::Extension,
            (At::SizeEnd, b'\n') if self.left == 0 => At::TrailerStart,
            (At::SizeEnd, b'\n') => At::Data,
            (At::DataReturn, b'\r') => At::DataEnd,
            (At::DataEnd, b'\n') => At::Size(0),
            (At::TrailerStart, b'\r') => At::LastEnd,
            (At::Trailer, b'\r') => At::TrailerEnd,
            (At::TrailerStart | At::Trailer, b'\t' | b' '..=b'~' | 0x80..) => At::Trailer,
            (At::TrailerEnd, b'\n') => At::TrailerStart,
            (At::LastEnd, b'\n') => return Some(true),
            _ => return None,
        };
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn follow(bytes: &str) -> Followed {
        Chunked::default().follow(bytes.as_bytes())
    }

    #[test]
    fn the_end_is_found_and_what_follows_is_left() {
        for body in ["0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "2;x=\"y\"\r\n\r\n\r\n000\r\nx-t: 1\r\ny: 2\r\n\r\n"] {
            let followed = follow(&format!("{body}GET / HTTP"));
            assert_eq!((followed.taken, followed.state), (body.len(), State::Over), "{body:?}");
        }
        assert_eq!(follow("3\r\nabc\r\n2\r\nde").payload, 5);
    }

    #[test]
    fn broken_coding_is_seen_where_it_breaks() {
        for (body, taken) in [
            ("\r\n", 0),
            (";\r\n", 0),
            ("3\nabc\r\n", 1),
            ("3 \r\nabc", 1),
            ("-1\r\n", 0),
            ("0x1\r\n", 1),
            ("3\r\nabcd\r\n", 6),
            ("3\r\nabc\n", 6),
            ("0\r\nx\n\r\n", 4),
            ("0\r\n\n", 3),
            ("11112222333344445\r\n", 16),
            ("1;a\nb\r\n", 3),
        ] {
            let followed = follow(body);
            assert_eq!((followed.taken, followed.state), (taken, State::Broken), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn arriving_in_pieces_changes_nothing(
            body in "((1\r\na|2;q\r\nab|a\r\n0123456789)(\r\n|\n)){0,4}(0\r\n(t: 1\r\n){0,2}\r\n)?(x\r\n)?",
            cut in 1usize..7,
        ) {
            let whole = follow(&body);
            let mut pieces = Chunked::default();
            let (mut taken, mut payload, mut state) = (0, 0, State::More);
            for piece in body.as_bytes().chunks(cut) {
                let followed = pieces.follow(piece);
                taken += followed.taken;
                payload += followed.payload;
                state = followed.state;
                if state != State::More {
                    break;
                }
            }
            prop_assert_eq!(Followed { taken, payload, state }, whole);
        }
    }
}
