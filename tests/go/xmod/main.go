// Command xmod answers questions about module paths, versions, go.mod files and zips with the real golang.org/x/mod.
//
// One question a line on standard input, {"op": …, "args": [base64, …]}, one answer a line on standard output.
// With the argument "tables" it prints the Unicode tables of src/module/unicode instead; with "clock FILE TIMES" how long hashing a
// zip takes, for benches/dirhash.rs; with "audit" it watches a checksum database.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path"
	"strconv"
	"unicode"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

type answer map[string]any

var ops = map[string]func(args []string) answer{
	"path":    func(a []string) answer { return judgePath(a[0]) },
	"file":    func(a []string) answer { return answer{"err": text(module.CheckFilePath(a[0]))} },
	"import":  func(a []string) answer { return answer{"err": text(module.CheckImportPath(a[0]))} },
	"version": func(a []string) answer { return judgeVersion(a[0]) },
	"compare": func(a []string) answer { return answer{"order": semver.Compare(a[0], a[1])} },
	"check":   func(a []string) answer { return answer{"err": text(module.Check(a[0], a[1]))} },
	"glob":    func(a []string) answer { return judgeGlob(a[0], a[1]) },
	"prefix":  func(a []string) answer { return answer{"matches": module.MatchPrefixPatterns(a[0], a[1])} },
	"quote":   func(a []string) answer { return answer{"quoted": strconv.Quote(a[0])} },
	"unicode": func(a []string) answer { return judgeRunes(a[0]) },
	"gomod":   func(a []string) answer { return judgeGoMod([]byte(a[0])) },
	"zip":     func(a []string) answer { return judgeZip(a[0], a[1], a[2], true) },
	"names":   func(a []string) answer { return judgeZip(a[0], a[1], a[2], false) },
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "tables" {
		printTables()
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "clock" {
		clockZip(os.Args[2], os.Args[3])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "audit" {
		audit()
		return
	}
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	w := bufio.NewWriter(os.Stdout)
	out := json.NewEncoder(w)
	for in.More() {
		var question struct {
			Op   string
			Args [][]byte
		}
		if err := in.Decode(&question); err != nil {
			log.Fatal(err)
		}
		var args []string
		for _, arg := range question.Args {
			args = append(args, string(arg))
		}
		op := ops[question.Op]
		if op == nil {
			log.Fatalf("no such question: %s", question.Op)
		}
		if err := out.Encode(op(args)); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		log.Fatal(err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// orNull is nil for a failure.
func orNull(s string, err error) any {
	if err != nil {
		return nil
	}
	return s
}

func judgePath(p string) answer {
	var split any
	if prefix, major, ok := module.SplitPathVersion(p); ok {
		split = []string{prefix, major}
	}
	return answer{
		"err":      text(module.CheckPath(p)),
		"split":    split,
		"escape":   orNull(module.EscapePath(p)),
		"unescape": orNull(module.UnescapePath(p)),
	}
}

func judgeVersion(v string) answer {
	var pseudo any
	if module.IsPseudoVersion(v) {
		var unix, base any
		if t, err := module.PseudoVersionTime(v); err == nil {
			unix = t.Unix()
		}
		// Ours tells the base of canonical versions only.
		if module.CanonicalVersion(v) == v {
			base = orNull(module.PseudoVersionBase(v))
		}
		pseudo = answer{"time": unix, "rev": orNull(module.PseudoVersionRev(v)), "base": base}
	}
	return answer{
		"valid":     semver.IsValid(v),
		"canonical": module.CanonicalVersion(v),
		"escape":    orNull(module.EscapeVersion(v)),
		"unescape":  orNull(module.UnescapeVersion(v)),
		"pseudo":    pseudo,
	}
}

func judgeGlob(glob, name string) answer {
	matched, err := path.Match(glob, name)
	return answer{"matches": matched, "malformed": err != nil}
}

// judgeRunes answers for the runes of a string: letters and printable ones as 0 and 1, and what each folds to.
func judgeRunes(s string) answer {
	letters, printable, folded := "", "", ""
	for _, r := range s {
		letters += bit(unicode.IsLetter(r))
		printable += bit(unicode.IsPrint(r))
		folded += string(fold(r))
	}
	return answer{"letters": letters, "printable": printable, "folded": folded, "unicode": fmt.Sprint(unicode.Version)}
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
