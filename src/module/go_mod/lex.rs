//! The tokens of a go.mod file (`modfile/read.go`'s lexer).

use super::{GoModError, Position};
use crate::module::quote::quote_char;
use crate::module::unicode::is_printable;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Eof,
    Newline,
    /// A comment behind something on its line; ends the line.
    EolComment,
    /// A comment that has its line for itself; ends no line.
    Comment,
    /// One of `()[]{},`.
    Punctuation(char),
    Ident,
    /// In double quotes or backquotes, which are part of the text.
    Quoted,
}

impl Kind {
    /// Whether a line ends here.
    pub(super) fn ends_line(self) -> bool {
        matches!(self, Self::Eof | Self::EolComment | Self::Newline)
    }
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) start: Position,
    pub(super) end: Position,
    /// A comment's is without its line end.
    pub(super) text: &'a str,
}

/// Reads tokens one ahead.
pub(super) struct Lexer<'a> {
    text: &'a str,
    pos: Position,
    /// Whether something stands before the position on its line.
    in_line: bool,
    next: Token<'a>,
}

type Result<T> = std::result::Result<T, GoModError>;

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self> {
        let pos = Position { line: 1, column: 1, byte: 0 };
        let next = Token { kind: Kind::Eof, start: pos, end: pos, text: "" };
        let mut lexer = Self { text, pos, in_line: false, next };
        lexer.advance()?;
        Ok(lexer)
    }

    /// The next token's kind.
    pub(super) fn peek(&self) -> Kind {
        self.next.kind
    }

    /// Takes the next token.
    pub(super) fn take(&mut self) -> Result<Token<'a>> {
        let token = self.next;
        self.advance()?;
        Ok(token)
    }

    /// An error here: behind the next token.
    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(GoModError { line: self.pos.line, column: self.pos.column, message: message.into() })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.pos.byte..]
    }

    fn peek_char(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek_char()?;
        self.pos.byte += c.len_utf8();
        if c == '\n' {
            self.pos.line += 1;
            self.pos.column = 1;
            self.in_line = false;
        } else {
            self.pos.column += 1;
            self.in_line |= !c.is_whitespace();
        }
        Some(c)
    }

    fn advance(&mut self) -> Result<()> {
        while matches!(self.peek_char(), Some(' ' | '\t' | '\r')) {
            self.bump();
        }
        let start = self.pos;
        let kind = self.read_kind()?;
        let mut text = &self.text[start.byte..self.pos.byte];
        if matches!(kind, Kind::Comment | Kind::EolComment) {
            text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
        }
        self.next = Token { kind, start, end: self.pos, text };
        Ok(())
    }

    fn read_kind(&mut self) -> Result<Kind> {
        if self.rest().starts_with("//") {
            let kind = if self.in_line { Kind::EolComment } else { Kind::Comment };
            while self.bump().is_some_and(|c| c != '\n') {}
            return Ok(kind);
        }
        self.refuse_c_comment()?;
        match self.peek_char() {
            None => Ok(Kind::Eof),
            Some('\n') => {
                self.bump();
                Ok(Kind::Newline)
            }
            Some(c @ ('(' | ')' | '[' | ']' | '{' | '}' | ',')) => {
                self.bump();
                Ok(Kind::Punctuation(c))
            }
            Some(c @ ('"' | '`')) => self.read_quoted(c),
            Some(c) if !is_ident(c) => self.fail(format!("unexpected input character {}", quote_char(c))),
            Some(_) => {
                while self.peek_char().is_some_and(is_ident) && !self.rest().starts_with("//") {
                    self.refuse_c_comment()?;
                    self.bump();
                }
                Ok(Kind::Ident)
            }
        }
    }

    fn refuse_c_comment(&self) -> Result<()> {
        if self.rest().starts_with("/*") {
            return self.fail("mod files must use // comments (not /* */ comments)");
        }
        Ok(())
    }

    fn read_quoted(&mut self, quote: char) -> Result<Kind> {
        let start = self.pos;
        let unexpected_end = GoModError { line: start.line, column: start.column, message: "unexpected EOF in string".to_owned() };
        self.bump();
        loop {
            if self.peek_char() == Some('\n') {
                return self.fail("unexpected newline in string");
            }
            match self.bump().ok_or_else(|| unexpected_end.clone())? {
                c if c == quote => return Ok(Kind::Quoted),
                // Whatever comes, a line end too.
                '\\' if quote != '`' => {
                    self.bump().ok_or_else(|| unexpected_end.clone())?;
                }
                _ => {}
            }
        }
    }
}

fn is_ident(c: char) -> bool {
    !matches!(c, ' ' | '(' | ')' | '[' | ']' | '{' | '}' | ',') && is_printable(c)
}
