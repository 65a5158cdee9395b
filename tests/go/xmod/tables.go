package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"unicode"
)

// fold is x/mod/zip's strToFold for one rune.
func fold(r rune) rune {
	for {
		r0 := r
		r = unicode.SimpleFold(r0)
		if r <= r0 {
			break
		}
	}
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

// printTables writes src/module/unicode/tables.rs from the tables that this Go has.
func printTables() {
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	fmt.Fprintf(w, "//! Unicode %s, as Go has it. Made by `go run . tables` in tests/go/xmod; do not edit.\n\n", unicode.Version)

	printRanges(w, "LETTERS", "category L, in order, outside ASCII", unicode.IsLetter)
	printRanges(w, "PRINTABLE", "what `unicode.IsPrint` calls printable, in order, outside ASCII", unicode.IsPrint)

	fmt.Fprintf(w, "/// Runs (first, last, step, what to add) that take a character outside ASCII to the one that stands for all that fold alike.\n")
	type run struct{ lo, hi, step, delta rune }
	var runs []run
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		f := fold(r)
		if f == r {
			continue
		}
		d := f - r
		if n := len(runs); n > 0 {
			if last := &runs[n-1]; last.delta == d {
				if last.lo == last.hi && r-last.hi <= 2 {
					last.step = r - last.hi
				}
				if r-last.hi == last.step {
					last.hi = r
					continue
				}
			}
		}
		runs = append(runs, run{r, r, 1, d})
	}
	fmt.Fprintf(w, "#[rustfmt::skip]\npub(super) const FOLDS: [(u32, u32, u32, i32); %d] = [", len(runs))
	for i, f := range runs {
		fmt.Fprintf(w, "%s(%#x, %#x, %d, %d),", separator(i, 4), f.lo, f.hi, f.step, f.delta)
	}
	fmt.Fprintf(w, "\n];\n")
}

func printRanges(w io.Writer, name, what string, in func(rune) bool) {
	var ranges [][2]rune
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if !in(r) {
			continue
		}
		if n := len(ranges); n > 0 && ranges[n-1][1] == r-1 {
			ranges[n-1][1] = r
		} else {
			ranges = append(ranges, [2]rune{r, r})
		}
	}
	fmt.Fprintf(w, "/// The ranges (first, last) of %s.\n", what)
	fmt.Fprintf(w, "#[rustfmt::skip]\npub(super) const %s: [(u32, u32); %d] = [", name, len(ranges))
	for i, r := range ranges {
		fmt.Fprintf(w, "%s(%#x, %#x),", separator(i, 6), r[0], r[1])
	}
	fmt.Fprintf(w, "\n];\n\n")
}

func separator(i, perLine int) string {
	if i%perLine == 0 {
		return "\n    "
	}
	return " "
}
