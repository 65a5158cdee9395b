//! Inputs at the edges: hand-picked ones, and mutations of them from a fixed seed.

/// A small generator of numbers (SplitMix64): the same ones in every run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The seeds, and `count` mutations of them: pieces put in, taken out, doubled, exchanged, or joined from two seeds.
pub(super) fn mutations(seeds: &[&str], pieces: &[&str], count: usize, seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut all: Vec<String> = seeds.iter().map(|s| (*s).to_owned()).collect();
    while all.len() < seeds.len() + count {
        let mut text: Vec<char> = random.pick(seeds).chars().collect();
        for _ in 0..=random.below(3) {
            mutate(&mut text, seeds, pieces, &mut random);
        }
        all.push(text.into_iter().collect());
    }
    all
}

fn mutate(text: &mut Vec<char>, seeds: &[&str], pieces: &[&str], random: &mut Random) {
    let at = random.below(text.len() + 1);
    let to = (at + random.below(4)).min(text.len());
    match random.below(6) {
        0 => drop(text.splice(at..at, random.pick(pieces).chars())),
        1 => drop(text.splice(at..to, random.pick(pieces).chars())),
        2 => drop(text.drain(at..to)),
        3 => {
            let copy = text[at..to].to_vec();
            drop(text.splice(at..at, copy));
        }
        4 => {
            let other: Vec<char> = random.pick(seeds).chars().collect();
            let from = random.below(other.len() + 1);
            drop(text.splice(at.., other[from..].iter().copied()));
        }
        _ => text.iter_mut().skip(at).take(1).for_each(|c| {
            *c = if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        }),
    }
}

pub(super) const PATHS: &[&str] = &[
    "",
    "x",
    "x.y",
    "x.y/z",
    "github.com/Azure/azure-sdk-for-go",
    "github.com/a/b/v2",
    "github.com/a/b/v10",
    "github.com/a/b/v1",
    "github.com/a/b/v0",
    "github.com/a/b/v02",
    "github.com/a/b/v2.1",
    "github.com/a/b/v",
    "github.com/a/b/v2/c",
    "gopkg.in/yaml.v2",
    "gopkg.in/yaml.v0",
    "gopkg.in/yaml.v1",
    "gopkg.in/yaml.v02",
    "gopkg.in/yaml",
    "gopkg.in/yaml.v3-unstable",
    "gopkg.in/yaml.v-unstable",
    "gopkg.in/yaml.v0-unstable",
    "gopkg.in/a/b.v3",
    "gopkg.in/v1",
    "gopkg.in",
    "gopkg.in/.v1",
    "gopkg.in/-unstable",
    "golang.org/toolchain",
    "example.com/a~1",
    "example.com/a~b",
    "example.com/~1.x",
    "example.com/con",
    "example.com/CON.txt",
    "example.com/lpt1.a.b",
    "example.com/com0",
    "example.com/a..b",
    "example.com/..",
    "example.com/.a",
    "example.com/a.",
    "example.com/...",
    "-x.y/z",
    "x-.y/z",
    "X.y/z",
    "x.Y",
    "x_.y/z",
    "/x.y",
    "x.y/",
    "x.y//z",
    "x.y/a b",
    "x.y/é",
    "x.y/\u{212a}",
    "x.y/a+b",
    "x.y/a@b",
    "x.y/a!b",
    "x.y/!a",
    "x.y/!!a",
    "github.com/!azure/x",
    "x.y/a%20",
    "x.y/\\",
    "x.y/\0",
    "x.y\n",
    "x.y/v1/v2",
    "v2",
    "/v2",
    "x.y/v2/v2",
    "1.2.3.4/x",
    "localhost/x",
    "x.y/_",
    "x.y/~",
    "x.y/a.v1",
    "x.y/v99999999999999999999999",
    "x.y/v1-unstable",
    "xn--e1.y/z",
];

pub(super) const PATH_PIECES: &[&str] = &[
    "/",
    "//",
    ".",
    "..",
    "-",
    "~",
    "~1",
    "_",
    "!",
    "!a",
    "@",
    "+",
    "v",
    "v1",
    "v2",
    "/v2",
    "/v0",
    ".v1",
    "-unstable",
    "0",
    "1",
    "9",
    "A",
    "Z",
    "con",
    "aux.",
    "é",
    "世",
    " ",
    "\u{7f}",
    "\\",
    ":",
    "%",
    "gopkg.in/",
    "\u{301}",
    "\t",
];

pub(super) const VERSIONS: &[&str] = &[
    "",
    "v",
    "v1",
    "v1.2",
    "v1.2.3",
    "1.2.3",
    "v01.2.3",
    "v1.02.3",
    "v1.2.03",
    "v1.2.3-pre",
    "v1.2.3-pre.1",
    "v1.2.3-01",
    "v1.2.3-0",
    "v1.2.3-0a",
    "v1.2.3-",
    "v1.2.3-.",
    "v1.2.3-a..b",
    "v1.2.3+meta",
    "v1.2.3+",
    "v1.2.3+a..b",
    "v1.2.3+01",
    "v1-pre",
    "v1.2+meta",
    "v1.2.3-pre+meta",
    "v2.0.0+incompatible",
    "v2.0.0+incompatible.1",
    "v2.0.0-pre+incompatible",
    "v0.0.0-20200102030405-abcdefabcdef",
    "v1.0.0-20200102030405-abcdefabcdef",
    "v1.2.3-0.20200102030405-abcdefabcdef",
    "v1.2.0-0.20200102030405-abcdefabcdef",
    "v1.2.1000-0.20200102030405-abcdefabcdef",
    "v1.2.3-pre.0.20200102030405-abcdefabcdef",
    "v2.2.3-0.20200102030405-abcdefabcdef+incompatible",
    "v2.0.0-20200102030405-abcdefabcdef+incompatible",
    "v1.2.3-0.0.20200102030405-abc",
    "v1.2.3-20200102030405-abc",
    "v0.0.0-20201302030405-abc",
    "v0.0.0-20200230030405-abc",
    "v0.0.0-20200228240405-abc",
    "v0.0.0-20200228030460-abc",
    "v0.0.0-00010101000000-000000000000",
    "v0.0.0-00000101000000-a",
    "v0.0.0-20190229000000-a",
    "v0.0.0-20200229000000-a",
    "v0.0.0-2020010203040-abc",
    "v0.0.0-202001020304056-abc",
    "v0.0.0-20200102030405",
    "v0.0.0-20200102030405-a.b",
    "v0.0.0-a-0.20200102030405-b",
    "v1.0.0-a-b.0.20200102030405-c+x-y",
    "v18446744073709551616.0.0",
    "v99999999999999999999999.1.2",
    "v1.2.3-99999999999999999999999",
    "v1.2.3-a.b.c.d.e.f",
    "v1.2.3-A-B",
    "main",
    "HEAD",
    "feature/x",
    "abcdef123456",
    "latest",
    "none",
    ">=v1.2",
    "v1.2.3-é",
    "!v1",
    "!main",
    "V1.2.3",
    "v1.2.3 ",
    "con",
    "..",
    "a:b",
    "v1.0.0-rc.!alpha",
];

pub(super) const VERSION_PIECES: &[&str] = &[
    ".",
    "-",
    "+",
    "0",
    "00",
    "1",
    "9",
    "10",
    "v",
    "a",
    "Z",
    "!a",
    "--",
    ".0.",
    "-0.",
    "0.",
    "20200102030405",
    "-abc",
    "+incompatible",
    "-pre",
    "+meta",
    "é",
    " ",
    "/",
    "\u{0}",
    "99999999999999999999",
];

pub(super) const GLOBS: &[&str] = &[
    "",
    "*",
    "**",
    "?",
    "a",
    "a*",
    "*a",
    "a*b",
    "a?b",
    "*.corp.com",
    "github.com/acme/*",
    "github.com/acme",
    "github.com/acme/",
    "github.com/*/x",
    "[a-c]x",
    "[^a-c]x",
    "[",
    "[]",
    "[a",
    "[a-",
    "[a-]",
    "[-a]",
    "[]a]",
    "[^]",
    "[^]a]",
    "[a]b]",
    "[\\]]",
    "[\\-x]",
    "[x\\-z]",
    "[a-b-c]",
    "\\",
    "\\*",
    "a\\",
    "\\[a]",
    "[/]",
    "a[/]b",
    "[^x]b",
    "a[^a]*",
    "*[a-z]",
    "a*b*c",
    "a*/b",
    "a/b/c",
    "?*",
    "*?",
    "[*]",
    "[?]",
    "[é-ü]",
    "?é",
    "*é*",
    "a*[",
    "x*[a",
    "b[a",
    "[b-a]",
    "[[]",
    "[\\\\]",
    "[a/b]c",
    "[^/]",
];

pub(super) const GLOB_PIECES: &[&str] =
    &["*", "?", "[", "]", "^", "-", "\\", "/", "a", "b", "c", "x", "é", ".", "[a-c]", "[^a]", "[a-", "*b", "?c", "\\*", "github.com"];

pub(super) const NAMES: &[&str] = &[
    "",
    "a",
    "b",
    "ab",
    "abc",
    "axb",
    "a/b",
    "a/b/c",
    "x",
    "ax",
    "bx",
    "git.corp.com",
    "git.corp.com/x/y",
    "github.com/acme",
    "github.com/acme/x",
    "github.com/acme/x/y",
    "github.com/acmeco",
    "é",
    "aé",
    "ü",
    "-",
    "]",
    "[",
    "*",
    "\\",
    "a]b",
    "a//b",
    "/a",
    "a/",
    "[a]",
    "ab]",
    "cb]",
];
