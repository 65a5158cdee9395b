//! The other judge: a Go program with the real golang.org/x/mod, asked over pipes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What is asked: an operation of tests/go/xmod and its arguments, which may be any bytes.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) op: &'static str,
    pub(super) args: Vec<Vec<u8>>,
}

impl Question {
    pub(super) fn new<const N: usize>(op: &'static str, args: [&[u8]; N]) -> Self {
        Self { op, args: args.map(<[u8]>::to_vec).into() }
    }

    /// An argument that was given as text.
    pub(super) fn text(&self, i: usize) -> &str {
        std::str::from_utf8(&self.args[i]).expect("asked with text")
    }

    fn shown(&self) -> String {
        let args: Vec<_> = self.args.iter().map(|arg| format!("{:?}", String::from_utf8_lossy(arg))).collect();
        format!("{} {}", self.op, args.join(" "))
    }
}

fn source() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/go/xmod")
}

/// The go command in the program's folder, with nothing of the caller's settings but where to download from.
fn go(args: &[&str]) -> Command {
    let mut go = Command::new("go");
    go.args(args).current_dir(source()).env_remove("GOFLAGS").env_remove("GOOS").env_remove("GOARCH").env("GOWORK", "off");
    go
}

fn run(mut command: Command) -> String {
    let output = command.output().expect("these tests need the go command");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The program, built once for all tests.
pub(crate) fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("xmod");
        run(go(&["build", "-o", path.to_str().unwrap(), "."]));
        path
    })
}

/// Where x/mod's own source lies, with its testdata.
pub(super) fn x_mod_dir() -> PathBuf {
    program();
    run(go(&["list", "-m", "-f", "{{.Dir}}", "golang.org/x/mod"])).into()
}

/// The answers, in the order of the questions.
pub(super) fn ask(questions: &[Question]) -> Vec<Value> {
    let mut child = Command::new(program()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<_> = questions
        .iter()
        .map(|q| json!({"op": q.op, "args": q.args.iter().map(|arg| STANDARD.encode(arg)).collect::<Vec<_>>()}).to_string())
        .collect();
    let answers = std::thread::scope(|scope| {
        // Written beside the reading, else both pipes fill up.
        scope.spawn(move || stdin.write_all(lines.join("\n").as_bytes()).unwrap());
        stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect::<Vec<_>>()
    });
    assert!(child.wait().unwrap().success());
    assert_eq!(answers.len(), questions.len());
    answers
}

/// Asks both judges; fails with the questions on which they differ.
pub(super) fn compare(questions: Vec<Question>, ours: impl Fn(&Question) -> Value) {
    compare_by(questions, |question, theirs| {
        let ours = ours(question);
        if &ours == theirs { Ok(()) } else { Err(ours.to_string()) }
    });
}

/// Asks the other judge, and hands the answers to a comparison, which says what ours was where the two differ.
pub(super) fn compare_by(questions: Vec<Question>, same: impl Fn(&Question, &Value) -> Result<(), String>) {
    assert!(!questions.is_empty());
    let answers = ask(&questions);
    let differences: Vec<_> = questions
        .iter()
        .zip(&answers)
        .filter_map(|(question, theirs)| {
            let ours = same(question, theirs).err()?;
            Some(format!("{}\n  ours:   {ours}\n  theirs: {theirs}", question.shown()))
        })
        .collect();
    let first: Vec<_> = differences.iter().take(40).map(String::as_str).collect();
    assert!(differences.is_empty(), "{} of {} differ:\n{}", differences.len(), questions.len(), first.join("\n"));
}
