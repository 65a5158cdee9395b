//! The lines and blocks of a go.mod file, and which comments belong to which (`modfile/read.go`'s parser).

use super::lex::{Kind, Lexer, Token};
use super::{GoModError, LINES_MAX, Position};

/// A directive, or a line of a block.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) start: Position,
    pub(super) tokens: Vec<&'a str>,
    pub(super) comments: Comments<'a>,
}

/// The comments of a line or block, with their `//`; an empty one is a blank line.
#[derive(Debug, Default)]
pub(super) struct Comments<'a> {
    /// On lines of their own, right before.
    pub(super) before: Vec<&'a str>,
    /// On the same line, behind.
    pub(super) suffix: Vec<&'a str>,
}

/// What stands at the top level.
#[derive(Debug)]
pub(super) enum Statement<'a> {
    Line(Line<'a>),
    /// `verb (`, lines, `)`. The first has the tokens before the parenthesis and the comments before the block.
    Block(Line<'a>, Vec<Line<'a>>),
}

type Result<T> = std::result::Result<T, GoModError>;

struct Parser<'a> {
    lexer: Lexer<'a>,
    statements: Vec<Statement<'a>>,
    lines: usize,
    /// Comments behind something, with their offsets.
    suffixes: Vec<(usize, &'a str)>,
    /// Everything that such a comment may belong to, ordered by its end, the outer after the inner.
    spans: Vec<Span>,
}

/// Where something stands, and which line it is, if it is one.
struct Span {
    one_line: bool,
    end: usize,
    line: Option<LineId>,
}

/// Statement, and line within the block.
#[derive(Clone, Copy)]
struct LineId(usize, Option<usize>);

/// Parses a file's text. There is at most one error, for parsing ends with it.
pub(super) fn parse(text: &str) -> Result<Vec<Statement<'_>>> {
    let mut parser = Parser { lexer: Lexer::new(text)?, statements: Vec::new(), lines: 0, suffixes: Vec::new(), spans: Vec::new() };
    parser.parse_file()?;
    parser.assign_suffixes();
    Ok(parser.statements)
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Result<Token<'a>> {
        let token = self.lexer.take()?;
        if token.kind == Kind::EolComment {
            self.suffixes.push((token.start.byte, token.text));
        }
        Ok(token)
    }

    fn parse_file(&mut self) -> Result<()> {
        let mut comments: Vec<&'a str> = Vec::new();
        let mut comments_start = 0;
        loop {
            match self.lexer.peek() {
                Kind::Eof => return Ok(()),
                Kind::Newline => {
                    self.take()?;
                    if !comments.is_empty() {
                        self.push_span(comments_start);
                        comments.clear();
                    }
                }
                Kind::Comment => {
                    let token = self.take()?;
                    if comments.is_empty() {
                        comments_start = token.start.byte;
                    }
                    comments.push(token.text);
                }
                _ => {
                    let statement = self.parse_statement(std::mem::take(&mut comments))?;
                    self.statements.push(statement);
                }
            }
        }
    }

    fn parse_statement(&mut self, before: Vec<&'a str>) -> Result<Statement<'a>> {
        let first = self.take()?;
        let mut end = first.end;
        let comments = Comments { before, suffix: Vec::new() };
        let mut line = Line { start: first.start, tokens: vec![first.text], comments };
        loop {
            let token = self.take()?;
            match token.kind {
                kind if kind.ends_line() => {
                    self.count_line()?;
                    self.end_line(&line, end, LineId(self.statements.len(), None));
                    return Ok(Statement::Line(line));
                }
                Kind::Punctuation('(') if self.lexer.peek().ends_line() => {
                    let lines = self.parse_block(line.start, &token)?;
                    return Ok(Statement::Block(line, lines));
                }
                Kind::Punctuation('(') if self.lexer.peek() == Kind::Punctuation(')') => {
                    let close = self.take()?;
                    if self.lexer.peek().ends_line() {
                        self.push_span(token.end.byte);
                        self.end_block(line.start, &close);
                        self.take()?;
                        return Ok(Statement::Block(line, Vec::new()));
                    }
                    line.tokens.extend([token.text, close.text]);
                }
                Kind::Punctuation('(') => line.tokens.push(token.text),
                _ => {
                    line.tokens.push(token.text);
                    end = token.end;
                }
            }
        }
    }

    fn parse_block(&mut self, start: Position, open: &Token<'a>) -> Result<Vec<Line<'a>>> {
        self.push_span(open.end.byte);
        let mut lines = Vec::new();
        let mut before: Vec<&'a str> = Vec::new();
        loop {
            match self.lexer.peek() {
                Kind::EolComment => {
                    self.take()?;
                }
                Kind::Newline => {
                    self.take()?;
                    if before.last().map_or(!lines.is_empty(), |last| !last.is_empty()) {
                        before.push("");
                    }
                }
                Kind::Comment => before.push(self.take()?.text),
                Kind::Eof => {
                    let Position { line, column, .. } = start;
                    return self.lexer.fail(format!("syntax error (unterminated block started at go.mod:{line}:{column})"));
                }
                Kind::Punctuation(')') => {
                    let close = self.take()?;
                    if !self.lexer.peek().ends_line() {
                        return self.lexer.fail("syntax error (expected newline after closing paren)");
                    }
                    self.end_block(start, &close);
                    self.take()?;
                    return Ok(lines);
                }
                _ => {
                    let comments = Comments { before: std::mem::take(&mut before), suffix: Vec::new() };
                    let line = self.parse_line(comments, LineId(self.statements.len(), Some(lines.len())))?;
                    lines.push(line);
                }
            }
        }
    }

    fn parse_line(&mut self, comments: Comments<'a>, id: LineId) -> Result<Line<'a>> {
        let first = self.take()?;
        let mut end = first.end;
        let mut line = Line { start: first.start, tokens: vec![first.text], comments };
        loop {
            let token = self.take()?;
            if token.kind.ends_line() {
                self.count_line()?;
                self.end_line(&line, end, id);
                return Ok(line);
            }
            line.tokens.push(token.text);
            end = token.end;
        }
    }

    /// Bounds memory: a line is some hundred bytes here, and may be two in the file.
    fn count_line(&mut self) -> Result<()> {
        self.lines += 1;
        if self.lines > LINES_MAX {
            return self.lexer.fail(format!("too many lines (at most {LINES_MAX})"));
        }
        Ok(())
    }

    fn end_line(&mut self, line: &Line<'a>, end: Position, id: LineId) {
        self.spans.push(Span { one_line: line.start.line == end.line, end: end.byte, line: Some(id) });
    }

    /// A closing parenthesis takes comments to itself, as an opening one does; a block would if it were on one line.
    fn end_block(&mut self, start: Position, close: &Token<'a>) {
        self.push_span(close.end.byte);
        self.spans.push(Span { one_line: start.line == close.start.line, end: close.end.byte, line: None });
    }

    /// Something on one line that keeps its comments to itself.
    fn push_span(&mut self, end: usize) {
        self.spans.push(Span { one_line: true, end, line: None });
    }

    /// Gives each comment behind something to the last thing before it that is on one line.
    fn assign_suffixes(&mut self) {
        for span in self.spans.iter().rev().filter(|span| span.one_line) {
            let from = self.suffixes.partition_point(|&(at, _)| at < span.end);
            let suffix = self.suffixes.split_off(from).into_iter().map(|(_, text)| text);
            let line = match span.line.and_then(|LineId(statement, line)| Some((self.statements.get_mut(statement)?, line))) {
                Some((Statement::Line(line), None)) => line,
                Some((Statement::Block(_, lines), Some(i))) if i < lines.len() => &mut lines[i],
                _ => continue,
            };
            line.comments.suffix.extend(suffix);
        }
    }
}
