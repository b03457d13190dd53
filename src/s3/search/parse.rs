//! Reading a clause. Length, depth, terms and expressions are limited; work is linear in the length.

use std::{iter::Peekable, str::Chars};

use regex::{Regex, RegexBuilder};
use thiserror::Error;

use super::{Field, Literal, Operator};

/// Longest clause, in bytes.
const MAX_LENGTH: usize = 4096;
/// Most parentheses within each other.
const MAX_DEPTH: usize = 32;
/// Most comparisons.
const MAX_TERMS: usize = 64;
/// Most regular expressions.
const MAX_PATTERNS: usize = 16;
/// Largest programs of all regular expressions together, in bytes. One that is made to be slow takes time in proportion to
/// its program for each byte of a field: this keeps the judging of an object below some 50 ms.
const PATTERN_SIZES: usize = 128 << 10;
/// Largest cache of a regular expression, in bytes.
const PATTERN_CACHE: usize = 1 << 20;
/// Most groups of a regular expression within each other.
const PATTERN_DEPTH: u32 = 50;

/// A clause that was understood.
#[derive(Clone, Debug)]
pub enum Clause {
    /// All of them hold.
    #[doc(hidden)]
    All(Vec<Self>),
    /// One of them holds.
    #[doc(hidden)]
    Any(Vec<Self>),
    /// A comparison.
    #[doc(hidden)]
    Compare(Comparison),
    /// A regular expression that is found in the field.
    #[doc(hidden)]
    Like(Like),
}

/// A comparison of a field with a value.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub(super) field: Field,
    pub(super) operator: Operator,
    pub(super) value: Literal,
}

/// A search for a regular expression in a field.
#[derive(Clone, Debug)]
pub struct Like {
    pub(super) field: Field,
    pub(super) pattern: Regex,
}

/// A clause that cannot be understood, or asks for too much.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a search clause: {0}")]
pub struct BadClause(&'static str);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Like,
    Operator(Operator),
    Literal(Literal),
}

impl Clause {
    /// Reads a clause.
    ///
    /// # Errors
    /// [`BadClause`].
    pub fn parse(text: &str) -> Result<Self, BadClause> {
        if text.len() > MAX_LENGTH {
            return Err(BadClause("it is too long"));
        }
        let tokens = tokens(text)?;
        let patterns = tokens.iter().filter(|token| **token == Token::Like).count();
        if patterns > MAX_PATTERNS {
            return Err(BadClause("it has too many expressions"));
        }
        let pattern_size = PATTERN_SIZES / patterns.max(1);
        let mut parser = Parser { tokens: tokens.into_iter().peekable(), depth: 0, terms: 0, pattern_size };
        let clause = parser.either()?;
        if parser.tokens.next().is_some() {
            return Err(BadClause("something follows it"));
        }
        Ok(clause)
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, BadClause> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&next) = chars.peek() {
        if next.is_whitespace() {
            chars.next();
            continue;
        }
        tokens.push(match next {
            '(' | ')' => {
                chars.next();
                if next == '(' { Token::Open } else { Token::Close }
            }
            '=' | '<' | '>' | '!' => Token::Operator(operator(&mut chars)?),
            '"' | '\'' | '`' => Token::Literal(Literal { text: quoted(&mut chars)?, quoted: true }),
            _ => word(&mut chars),
        });
    }
    Ok(tokens)
}

fn operator(chars: &mut Peekable<Chars<'_>>) -> Result<Operator, BadClause> {
    let first = chars.next();
    let second = chars.next_if(|char| matches!(char, '=' | '>'));
    match (first, second) {
        (Some('='), None) => Ok(Operator::Equal),
        (Some('!'), Some('=')) | (Some('<'), Some('>')) => Ok(Operator::Unequal),
        (Some('<'), None) => Ok(Operator::Less),
        (Some('>'), None) => Ok(Operator::Greater),
        (Some('<'), Some('=')) => Ok(Operator::AtMost),
        (Some('>'), Some('=')) => Ok(Operator::AtLeast),
        _ => Err(BadClause("an operator is unknown")),
    }
}

/// Text up to the quote it began with. A backslash before that quote makes it part of the text; before anything else
/// it stays, for regular expressions are full of them.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<String, BadClause> {
    let quote = chars.next();
    let mut text = String::new();
    while let Some(char) = chars.next() {
        if Some(char) == quote {
            return Ok(text);
        }
        if char == '\\' {
            if let Some(escaped) = chars.next_if(|next| Some(*next) == quote) {
                text.push(escaped);
            } else {
                text.push(char);
                text.extend(chars.next_if_eq(&'\\'));
            }
        } else {
            text.push(char);
        }
    }
    Err(BadClause("a quote is not closed"))
}

fn word(chars: &mut Peekable<Chars<'_>>) -> Token {
    let mut text = String::new();
    while let Some(char) = chars.next_if(|char| !char.is_whitespace() && !"()=<>!\"'`".contains(*char)) {
        text.push(char);
    }
    match text.to_ascii_uppercase().as_str() {
        "AND" => Token::And,
        "OR" => Token::Or,
        "LIKE" => Token::Like,
        _ => Token::Literal(Literal { text, quoted: false }),
    }
}

struct Parser {
    tokens: Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
    terms: usize,
    /// Largest program of each regular expression, in bytes.
    pattern_size: usize,
}

impl Parser {
    fn either(&mut self) -> Result<Clause, BadClause> {
        let mut all = vec![self.all()?];
        while self.tokens.next_if_eq(&Token::Or).is_some() {
            all.push(self.all()?);
        }
        Ok(single(all, Clause::Any))
    }

    fn all(&mut self) -> Result<Clause, BadClause> {
        let mut all = vec![self.term()?];
        while self.tokens.next_if_eq(&Token::And).is_some() {
            all.push(self.term()?);
        }
        Ok(single(all, Clause::All))
    }

    fn term(&mut self) -> Result<Clause, BadClause> {
        if self.tokens.next_if_eq(&Token::Open).is_some() {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(BadClause("it is too deep"));
            }
            let inner = self.either()?;
            self.depth -= 1;
            return match self.tokens.next() {
                Some(Token::Close) => Ok(inner),
                _ => Err(BadClause("a parenthesis is not closed")),
            };
        }
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(BadClause("it has too many terms"));
        }
        let field = Field::named(&self.literal()?.text);
        match self.tokens.next() {
            Some(Token::Operator(operator)) => {
                Ok(Clause::Compare(Comparison { field, operator, value: self.literal()? }))
            }
            Some(Token::Like) => {
                Ok(Clause::Like(Like { field, pattern: pattern(&self.literal()?.text, self.pattern_size)? }))
            }
            _ => Err(BadClause("a field has no operator")),
        }
    }

    fn literal(&mut self) -> Result<Literal, BadClause> {
        match self.tokens.next() {
            Some(Token::Literal(literal)) => Ok(literal),
            _ => Err(BadClause("a field or value is missing")),
        }
    }
}

fn single(mut all: Vec<Clause>, many: fn(Vec<Clause>) -> Clause) -> Clause {
    match (all.len(), all.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            all.extend(last);
            many(all)
        }
    }
}

/// A regular expression: bare, or between slashes with flags behind.
fn pattern(text: &str, size: usize) -> Result<Regex, BadClause> {
    let slashed = text.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
    let (expression, flags) = slashed.unwrap_or((text, ""));
    let mut builder = RegexBuilder::new(expression);
    builder.size_limit(size).dfa_size_limit(PATTERN_CACHE).nest_limit(PATTERN_DEPTH);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            // Of JavaScript: global and Unicode, which say nothing here.
            'g' | 'u' => &mut builder,
            _ => return Err(BadClause("a flag of an expression is unknown")),
        };
    }
    builder.build().map_err(|_| BadClause("an expression is none, or too large"))
}

impl Field {
    fn named(name: &str) -> Self {
        if let Some(key) = name.strip_prefix("tags.") {
            return Self::Tag(key.to_owned());
        }
        let lower = name.to_ascii_lowercase();
        match lower.strip_prefix("x-amz-meta-") {
            Some(short) => Self::Metadata(short.to_owned()),
            None => Self::Attribute(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn clauses_of_the_grammar_are_read() {
        for text in [
            "key=a",
            "`x-amz-meta-color`=\"blue\"",
            "x-amz-meta-color <> 'it\\'s' AND (tags.a>=1 or tags.b<2)",
            "key LIKE \"/^a.*\\d+$/i\"",
            "content-length>1000 and last-modified < \"2030-01-01\"",
            "((((key != 'a'))))",
            "a = ''",
        ] {
            Clause::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
    }

    #[test]
    fn what_is_no_clause_is_refused() {
        let deep = format!("{}a=1{}", "(".repeat(MAX_DEPTH + 1), ")".repeat(MAX_DEPTH + 1));
        let wide = vec!["a=1"; MAX_TERMS + 1].join(" OR ");
        let patterns = vec!["a LIKE b"; MAX_PATTERNS + 1].join(" OR ");
        let long = format!("a='{}'", "x".repeat(MAX_LENGTH));
        for text in [
            "",
            " ",
            "a",
            "a=",
            "=1",
            "a==1",
            "a=1 AND",
            "OR a=1",
            "(a=1",
            "a=1)",
            "a=1 b=2",
            "a='x",
            "a LIKE",
            "a LIKE '['",
            "a LIKE '/b/q'",
            "a LIKE '(?:x{1000}){1000}'",
            "a !1",
            "a => 1",
            "a = AND",
            "()",
            &deep,
            &wide,
            &patterns,
            &long,
        ] {
            assert!(Clause::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn expressions_share_what_their_programs_may_take() {
        let slow = "a LIKE '[ab]*a[ab]{1000}c'";
        Clause::parse(slow).unwrap();
        assert!(Clause::parse(&[slow; 16].join(" OR ")).is_err());
        Clause::parse(&["a LIKE '/^report-[0-9]{4}.*\\.txt$/i'"; 16].join(" OR ")).unwrap();
    }

    #[test]
    fn quotes_end_where_they_began() {
        let read = |text: &str| match Clause::parse(text) {
            Ok(Clause::Compare(Comparison { value, .. })) => value.text,
            other => panic!("{other:?}"),
        };
        assert_eq!(read(r#"a="it's `x`""#), "it's `x`");
        assert_eq!(read(r#"a="\"\\d\n""#), r#""\\d\n"#);
        assert_eq!(read(r#"a="\\""#), r"\\");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            Clause::parse(&text).ok();
        }

        #[test]
        fn no_row_of_tokens_makes_it_panic(
            words in proptest::collection::vec(
                proptest::sample::select(vec!["(", ")", "=", "<", ">", "!", "a", "'", "\"", "\\", "AND", "OR", "LIKE", " ", "/"]),
                0..40,
            ),
        ) {
            Clause::parse(&words.concat()).ok();
        }
    }
}
