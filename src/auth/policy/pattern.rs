//! Texts of policies: wildcards and variables.

use super::keys::{ConditionKey, Facts};

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
    One(Token),
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

/// A text whose variables have their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Token>);

impl Template {
    /// Reads a text; `None` for a variable that is none, and for a pattern that is too long.
    pub(super) fn parse(text: &str, syntax: Syntax) -> Option<Self> {
        let mut pieces = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(char) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("${").filter(|_| syntax.variables) {
                let (inside, behind) = after.split_once('}')?;
                pieces.push(variable(inside)?);
                rest = behind;
                continue;
            }
            pieces.push(Piece::One(match char {
                '*' if syntax.wildcards => Token::Anything,
                '?' if syntax.wildcards => Token::AnyChar,
                other => Token::Char(other),
            }));
            rest = rest.get(char.len_utf8()..)?;
        }
        let template = Self { pieces };
        (template.is_fixed() || template.pieces.len() <= MAX_PATTERN).then_some(template)
    }

    /// Whether it stands for one text only.
    pub(super) fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::One(Token::Char(_))))
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
            Piece::One(_) => None,
        })
    }

    /// Whether it has any variable.
    pub(super) fn has_variables(&self) -> bool {
        self.keys().next().is_some()
    }

    /// The pattern for this request; `None` where a variable has no value, or several.
    pub(super) fn expand(&self, facts: &dyn Facts) -> Option<Pattern> {
        let mut tokens = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            match piece {
                Piece::One(token) => tokens.push(*token),
                Piece::Variable { key, default } => {
                    let values = facts.values(key);
                    let value = match (values.as_slice(), default) {
                        ([value], _) => value,
                        ([], Some(default)) => default,
                        _ => return None,
                    };
                    // Whatever the value holds stands for itself.
                    tokens.extend(value.chars().map(Token::Char));
                }
            }
        }
        Some(Pattern(tokens))
    }
}

/// What stands between `${` and `}`: a character that would mean something else, or a key with perhaps a default.
fn variable(inside: &str) -> Option<Piece> {
    if let "*" | "?" | "$" = inside {
        return inside.chars().next().map(|char| Piece::One(Token::Char(char)));
    }
    let (name, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((name, default)) => {
            let default = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (name, Some(default.to_owned()))
        }
    };
    Some(Piece::Variable { key: ConditionKey::parse(name.trim())?, default })
}

impl Pattern {
    /// Whether the whole of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        glob(&self.0, &text.chars().collect::<Vec<_>>())
    }

    /// Whether `text` matches but for the case of ASCII letters.
    pub(super) fn matches_ignoring_case(&self, text: &str) -> bool {
        let lower = |token: &Token| match token {
            Token::Char(char) => Token::Char(char.to_ascii_lowercase()),
            other => *other,
        };
        let tokens: Vec<Token> = self.0.iter().map(lower).collect();
        glob(&tokens, &text.chars().map(|char| char.to_ascii_lowercase()).collect::<Vec<_>>())
    }

    /// Whether `text` matches as the name of a resource: each of the six parts by itself, no wildcard reaching over a
    /// colon but in the last.
    pub(super) fn matches_arn(&self, text: &str) -> bool {
        let mut patterns = self.0.splitn(ARN_PARTS, |token| *token == Token::Char(':'));
        let mut texts = text.splitn(ARN_PARTS, ':');
        for _ in 0..ARN_PARTS {
            let (Some(pattern), Some(text)) = (patterns.next(), texts.next()) else { return false };
            if !glob(pattern, &text.chars().collect::<Vec<_>>()) {
                return false;
            }
        }
        true
    }
}

/// `arn:partition:service:region:account:resource`.
const ARN_PARTS: usize = 6;

fn glob(pattern: &[Token], text: &[char]) -> bool {
    let (mut at, mut place) = (0, 0);
    // The last star, and how far it reaches for now.
    let mut star: Option<(usize, usize)> = None;
    while let Some(char) = text.get(place) {
        match pattern.get(at) {
            Some(Token::Anything) => {
                star = Some((at, place));
                at += 1;
            }
            Some(Token::AnyChar) => (at, place) = (at + 1, place + 1),
            Some(Token::Char(wanted)) if wanted == char => (at, place) = (at + 1, place + 1),
            _ => {
                let Some((position, reached)) = star else { return false };
                star = Some((position, reached + 1));
                (at, place) = (position + 1, reached + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|token| *token == Token::Anything)
}
