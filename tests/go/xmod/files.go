package main

import (
	"bytes"
	"io"
	"log"
	"os"
	"strconv"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

func judgeGoMod(data []byte) answer {
	open := func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	hash, err := dirhash.Hash1([]string{"go.mod"}, open)
	if err != nil {
		log.Fatal(err)
	}
	return answer{
		"strict": parsed(modfile.Parse("go.mod", data, nil)),
		"lax":    parsed(modfile.ParseLax("go.mod", data, nil)),
		"hash":   hash,
	}
}

func parsed(f *modfile.File, err error) answer {
	if err != nil {
		return answer{"err": err.Error()}
	}
	a := answer{"module": nil, "go": nil, "toolchain": nil}
	if f.Module != nil {
		a["module"] = []string{f.Module.Mod.Path, f.Module.Deprecated}
	}
	if f.Go != nil {
		a["go"] = f.Go.Version
	}
	if f.Toolchain != nil {
		a["toolchain"] = f.Toolchain.Name
	}
	a["require"] = list(f.Require, func(r *modfile.Require) any { return []any{r.Mod.Path, r.Mod.Version, r.Indirect} })
	a["exclude"] = list(f.Exclude, func(e *modfile.Exclude) any { return []any{e.Mod.Path, e.Mod.Version} })
	a["replace"] = list(f.Replace, func(r *modfile.Replace) any {
		return []any{r.Old.Path, r.Old.Version, r.New.Path, r.New.Version}
	})
	a["retract"] = list(f.Retract, func(r *modfile.Retract) any { return []any{r.Low, r.High, r.Rationale} })
	a["godebug"] = list(f.Godebug, func(g *modfile.Godebug) any { return []any{g.Key, g.Value} })
	a["tool"] = list(f.Tool, func(t *modfile.Tool) any { return t.Path })
	a["ignore"] = list(f.Ignore, func(i *modfile.Ignore) any { return i.Path })
	return a
}

func list[T any](in []T, show func(T) any) []any {
	out := []any{}
	for _, x := range in {
		out = append(out, show(x))
	}
	return out
}

// shown is a name as it is when it is printable, else quoted: ours are for terminals.
func shown(name string) string {
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return strconv.Quote(name)
		}
	}
	if !utf8.ValidString(name) {
		return strconv.Quote(name)
	}
	return name
}

// judgeZip says what the go command would say of a zip: the rules, whether it can be unpacked, and its hash.
func judgeZip(file, path, version string, unpack bool) answer {
	m := module.Version{Path: path, Version: version}
	checked, err := zip.CheckZip(m, file)
	var invalid []any
	for _, e := range checked.Invalid {
		invalid = append(invalid, shown(e.Path)+": "+e.Err.Error())
	}
	a := answer{"check": text(err), "invalid": invalid, "size": text(checked.SizeError)}

	if unpack {
		dir, err := os.MkdirTemp("", "xmod")
		if err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(dir)
		a["unzip"] = text(zip.Unzip(dir, m, file))
	}

	hash, err := dirhash.HashZip(file, dirhash.Hash1)
	a["hash"], a["hash_err"] = hash, text(err)
	return a
}
