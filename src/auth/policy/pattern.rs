//! Texts of policies: wildcards and variables.
//!
//! Whoever sets a policy chooses its patterns, and callers choose what they are compared with, so a comparison takes time
//! in proportion to both lengths and never to their product.

use std::{borrow::Cow, collections::HashMap};

use super::{keys::ConditionKey, known::Known};

/// Most characters of a text with wildcards: matching takes time in proportion.
const MAX_PATTERN: usize = 2048;

/// A text as a policy has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

/// What the characters of a text mean where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syntax {
    /// `*` and `?` stand for other characters.
    pub(super) wildcards: bool,
    /// `${…}` stands for a fact (version 2012-10-17).
    pub(super) variables: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Tokens(Vec<Token>),
    Variable { key: ConditionKey, default: Option<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    AnyChar,
    /// `*`
    Anything,
}

impl Token {
    fn takes(self, char: char) -> bool {
        match self {
            Self::Char(wanted) => wanted == char,
            Self::AnyChar => true,
            Self::Anything => false,
        }
    }
}

/// A text whose variables have their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern<'a>(Cow<'a, [Token]>);

impl Template {
    /// Reads a text; `None` for a variable that is none, and for a pattern that is too long.
    pub(super) fn parse(text: &str, syntax: Syntax) -> Option<Self> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut length = 0;
        let mut rest = text;
        while let Some(char) = rest.chars().next() {
            length += 1;
            if let Some(after) = rest.strip_prefix("${").filter(|_| syntax.variables) {
                let (inside, behind) = after.split_once('}')?;
                match variable(inside)? {
                    Ok(token) => push(token, &mut pieces),
                    Err(variable) => pieces.push(variable),
                }
                rest = behind;
                continue;
            }
            let token = match char {
                '*' if syntax.wildcards => Token::Anything,
                '?' if syntax.wildcards => Token::AnyChar,
                other => Token::Char(other),
            };
            push(token, &mut pieces);
            rest = rest.get(char.len_utf8()..)?;
        }
        let template = Self { pieces };
        (template.is_fixed() || length <= MAX_PATTERN).then_some(template)
    }

    /// Whether it stands for one text only.
    pub(super) fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| match piece {
            Piece::Tokens(tokens) => tokens.iter().all(|token| matches!(token, Token::Char(_))),
            Piece::Variable { .. } => false,
        })
    }

    /// Variables that have no default.
    pub(super) fn variables(&self) -> impl Iterator<Item = &ConditionKey> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { key, default: None } => Some(key),
            _ => None,
        })
    }

    /// All variables.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ConditionKey> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { key, .. } => Some(key),
            Piece::Tokens(_) => None,
        })
    }

    /// Whether it has any variable.
    pub(super) fn has_variables(&self) -> bool {
        self.keys().next().is_some()
    }

    /// The pattern for this request, to be compared with a text of `room` characters; `None` where a variable has no
    /// value, or several, and where what must be in the text is longer than it is.
    pub(super) fn expand(&self, facts: &Known<'_>, room: usize) -> Option<Pattern<'_>> {
        if let [Piece::Tokens(tokens)] = self.pieces.as_slice() {
            return Some(Pattern(Cow::Borrowed(tokens)));
        }
        let mut tokens = Vec::new();
        let mut taken = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Tokens(own) => {
                    tokens.extend_from_slice(own);
                    taken += own.iter().filter(|token| **token != Token::Anything).count();
                }
                Piece::Variable { key, default } => {
                    let values = facts.values(key);
                    let value = match (&*values, default) {
                        ([value], _) => value,
                        ([], Some(default)) => default,
                        _ => return None,
                    };
                    // Whatever the value holds stands for itself.
                    let before = tokens.len();
                    tokens.extend(value.chars().map(Token::Char));
                    taken += tokens.len() - before;
                }
            }
            if taken > room {
                return None;
            }
        }
        Some(Pattern(Cow::Owned(tokens)))
    }
}

fn push(token: Token, pieces: &mut Vec<Piece>) {
    match pieces.last_mut() {
        Some(Piece::Tokens(tokens)) => tokens.push(token),
        _ => pieces.push(Piece::Tokens(vec![token])),
    }
}

/// What stands between `${` and `}`: a character that would mean something else, or a key with perhaps a default.
fn variable(inside: &str) -> Option<Result<Token, Piece>> {
    if let "*" | "?" | "$" = inside {
        return inside.chars().next().map(|char| Ok(Token::Char(char)));
    }
    let (name, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((name, default)) => {
            let default = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (name, Some(default.to_owned()))
        }
    };
    Some(Err(Piece::Variable { key: ConditionKey::parse(name.trim())?, default }))
}

impl Pattern<'_> {
    /// Whether the whole of `text` matches.
    pub(super) fn matches(&self, text: &[char]) -> bool {
        glob(&self.0, text)
    }

    /// Whether `text` matches but for the case of ASCII letters.
    pub(super) fn matches_ignoring_case(&self, text: &[char]) -> bool {
        let lower = |token: &Token| match token {
            Token::Char(char) => Token::Char(char.to_ascii_lowercase()),
            other => *other,
        };
        let tokens: Vec<Token> = self.0.iter().map(lower).collect();
        glob(&tokens, &text.iter().map(char::to_ascii_lowercase).collect::<Vec<_>>())
    }

    /// Whether `text` matches as the name of a resource: each of the six parts by itself, no wildcard reaching over a
    /// colon but in the last.
    pub(super) fn matches_arn(&self, text: &[char]) -> bool {
        let mut patterns = self.0.splitn(ARN_PARTS, |token| *token == Token::Char(':'));
        let mut texts = text.splitn(ARN_PARTS, |char| *char == ':');
        for _ in 0..ARN_PARTS {
            let (Some(pattern), Some(text)) = (patterns.next(), texts.next()) else { return false };
            if !glob(pattern, text) {
                return false;
            }
        }
        true
    }
}

/// `arn:partition:service:region:account:resource`.
const ARN_PARTS: usize = 6;

/// Whether all of a text matches. What stands before the first star and behind the last is where it is; each segment
/// between two stars is looked for once, from where the one before was first found.
fn glob(pattern: &[Token], text: &[char]) -> bool {
    let mut segments = pattern.split(|token| *token == Token::Anything);
    let first = segments.next().unwrap_or_default();
    let Some(last) = segments.next_back() else { return first.len() == text.len() && fits(first, text) };
    let Some((start, rest)) = text.split_at_checked(first.len()) else { return false };
    let split = rest.len().checked_sub(last.len()).and_then(|at| rest.split_at_checked(at));
    let Some((mut middle, end)) = split else { return false };
    if !fits(first, start) || !fits(last, end) {
        return false;
    }
    for segment in segments {
        let Some(behind) = find(segment, middle) else { return false };
        middle = behind;
    }
    true
}

fn fits(segment: &[Token], text: &[char]) -> bool {
    segment.iter().zip(text).all(|(token, char)| token.takes(*char))
}

/// What stands behind the first place where a segment without stars fits.
fn find<'a>(segment: &[Token], text: &'a [char]) -> Option<&'a [char]> {
    if segment.is_empty() {
        return Some(text);
    }
    if segment.len() > text.len() {
        return None;
    }
    if segment.contains(&Token::AnyChar) { find_with_gaps(segment, text) } else { find_plain(segment, text) }
}

/// Knuth, Morris and Pratt: no character of the text is looked at again.
fn find_plain<'a>(segment: &[Token], text: &'a [char]) -> Option<&'a [char]> {
    // For each beginning of the segment: how much of its end is a beginning, too.
    let mut borders: Vec<usize> = Vec::with_capacity(segment.len());
    let mut border = 0;
    for (place, token) in segment.iter().enumerate() {
        if place > 0 {
            while border > 0 && segment.get(border) != Some(token) {
                border = borders.get(border - 1).copied().unwrap_or_default();
            }
            border += usize::from(segment.get(border) == Some(token));
        }
        borders.push(border);
    }
    let mut matched = 0;
    for (place, char) in text.iter().enumerate() {
        let wanted = Some(&Token::Char(*char));
        while matched > 0 && segment.get(matched) != wanted {
            matched = borders.get(matched - 1).copied().unwrap_or_default();
        }
        matched += usize::from(segment.get(matched) == wanted);
        if matched == segment.len() {
            return text.get(place + 1..);
        }
    }
    None
}

/// Bits of a word.
const WORD: usize = 64;

/// Shift-and: one bit for each beginning of the segment that fits here, 64 of them in a step.
fn find_with_gaps<'a>(segment: &[Token], text: &'a [char]) -> Option<&'a [char]> {
    let words = segment.len().div_ceil(WORD);
    let mut gaps = vec![0_u64; words];
    for (tokens, word) in segment.chunks(WORD).zip(&mut gaps) {
        *word = bits(tokens, |token| token == Token::AnyChar);
    }
    let mut masks: HashMap<char, Vec<u64>> = HashMap::new();
    for (place, token) in segment.iter().enumerate() {
        if let Token::Char(char) = token
            && let Some(word) = masks.entry(*char).or_insert_with(|| gaps.clone()).get_mut(place / WORD)
        {
            *word |= 1 << (place % WORD);
        }
    }
    let whole = 1_u64 << ((segment.len() - 1) % WORD);
    let mut state = vec![0_u64; words];
    for (place, char) in text.iter().enumerate() {
        let mut carried = 1;
        for (word, mask) in state.iter_mut().zip(masks.get(char).unwrap_or(&gaps)) {
            let next = *word >> (WORD - 1);
            *word = ((*word << 1) | carried) & mask;
            carried = next;
        }
        if state.last().is_some_and(|word| word & whole != 0) {
            return text.get(place + 1..);
        }
    }
    None
}

/// The bits of tokens that are so, the first one lowest.
fn bits(tokens: &[Token], is_so: impl Fn(Token) -> bool) -> u64 {
    tokens.iter().rev().fold(0, |bits, token| (bits << 1) | u64::from(is_so(*token)))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        let token = |char| match char {
            '*' => Token::Anything,
            '?' => Token::AnyChar,
            other => Token::Char(other),
        };
        text.chars().map(token).collect()
    }

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    /// What the wildcards mean, by their definition.
    fn means(pattern: &[Token], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([Token::Anything, rest @ ..], _) => {
                means(rest, text) || matches!(text, [_, behind @ ..] if means(pattern, behind))
            }
            ([token, rest @ ..], [char, behind @ ..]) => token.takes(*char) && means(rest, behind),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_text_matches_as_its_wildcards_say(pattern in "[ab*?]{0,10}", text in "[ab]{0,12}") {
            let (pattern, text) = (tokens(&pattern), chars(&text));
            prop_assert_eq!(glob(&pattern, &text), means(&pattern, &text));
        }

        #[test]
        fn a_segment_of_any_length_is_found_where_it_first_is(
            before in "[ab]{0,80}", segment in "[ab?]{1,150}", behind in "[ab]{0,80}",
        ) {
            let segment = tokens(&segment);
            let text = chars(&format!("{before}{}{behind}", "a".repeat(segment.len())));
            let first = (0..=text.len() - segment.len()).find(|at| fits(&segment, &text[*at..]));
            prop_assert_eq!(find(&segment, &text), first.map(|at| &text[at + segment.len()..]));
        }
    }

    #[test]
    fn no_pattern_takes_the_product_of_the_lengths() {
        let text = chars(&"a".repeat(1_000_000));
        let begun = Instant::now();
        for pattern in ["*{}x", "*{}x*", "*{}?x*", "?*{}x*{}x*"] {
            assert!(!glob(&tokens(&pattern.replace("{}", &"a".repeat(1000))), &text), "{pattern}");
        }
        // The product is a thousand million for each.
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
