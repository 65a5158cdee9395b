package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func init() {
	ops["grow"] = func(a []string) answer { return growTree(number(a[0]), number(a[1])) }
	ops["inclusion"] = func(a []string) answer { return inclusion(number(a[0]), number(a[1])) }
	ops["consistency"] = func(a []string) answer { return consistency(number(a[0]), number(a[1])) }
	ops["tilepath"] = func(a []string) answer { return judgeTilePath(a[0]) }
	ops["record"] = func(a []string) answer { return judgeRecord([]byte(a[0])) }
	ops["vkey"] = func(a []string) answer { return judgeVerifier(a[0]) }
	ops["skey"] = func(a []string) answer { return judgeSigner(a[0]) }
	ops["genkey"] = func(a []string) answer { return generateKey(a[0]) }
	ops["sign"] = func(a []string) answer { return sign(a[0], a[1]) }
	ops["open"] = func(a []string) answer { return open([]byte(a[0]), a[1]) }
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	must(err)
	return n
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// stored are the hashes of the one log that all questions are about: record i is "record i\n".
var stored []tlog.Hash
var size int64

var reader = tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(stored)) {
			return nil, errors.New("not stored")
		}
		hashes[i] = stored[index]
	}
	return hashes, nil
})

func tree(n int64) tlog.Tree {
	for ; size < n; size++ {
		hashes, err := tlog.StoredHashes(size, fmt.Appendf(nil, "record %d\n", size), reader)
		must(err)
		stored = append(stored, hashes...)
	}
	hash, err := tlog.TreeHash(n, reader)
	must(err)
	return tlog.Tree{N: n, Hash: hash}
}

func growTree(older, newer int64) answer {
	root := tree(newer)
	tiles := [][]string{}
	for _, tile := range tlog.NewTiles(8, older, newer) {
		data, err := tlog.ReadTileData(tile, reader)
		must(err)
		sum := sha256.Sum256(data)
		tiles = append(tiles, []string{tile.Path(), hex.EncodeToString(sum[:])})
	}
	return answer{"root": root.Hash.String(), "tiles": tiles}
}

// tileReader notes which tiles are asked for.
type tileReader struct{ asked []string }

func (r *tileReader) Height() int                     { return 8 }
func (r *tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		r.asked = append(r.asked, tile.Path())
		data, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func inclusion(n, id int64) answer {
	r := new(tileReader)
	hashes, err := tlog.TileHashReader(tree(n), r).ReadHashes([]int64{tlog.StoredHashIndex(0, id)})
	must(err)
	return answer{"hash": hashes[0].String(), "tiles": r.asked}
}

func consistency(older, newer int64) answer {
	r := new(tileReader)
	hash, err := tlog.TreeHash(older, tlog.TileHashReader(tree(newer), r))
	must(err)
	return answer{"hash": hash.String(), "tiles": r.asked}
}

func judgeTilePath(path string) answer {
	tile, err := tlog.ParseTilePath(path)
	// Go counts any group and any level; ours ends with six groups and level 63.
	if err != nil || tile.H != 8 || tile.L > 63 || tile.N >= 1e18 {
		return answer{"ok": false}
	}
	return answer{"ok": true, "level": tile.L, "n": tile.N, "width": tile.W}
}

func judgeRecord(msg []byte) answer {
	id, text, rest, err := tlog.ParseRecord(msg)
	// Go takes signs and zeros before the number.
	if err != nil || id < 0 || !strings.HasPrefix(string(msg), strconv.FormatInt(id, 10)+"\n") {
		return answer{"ok": false}
	}
	return answer{"ok": true, "id": id, "text": string(text), "rest": string(rest)}
}

// isCanonical is what ours asks of base64 beyond Go: one way to write it.
func isCanonical(text string) bool {
	data, err := base64.StdEncoding.DecodeString(text)
	return err == nil && base64.StdEncoding.EncodeToString(data) == text
}

func judgeVerifier(text string) answer {
	verifier, err := note.NewVerifier(text)
	if err != nil || !isCanonical(strings.SplitN(text, "+", 3)[2]) {
		return answer{"ok": false}
	}
	return answer{"ok": true, "name": verifier.Name()}
}

func judgeSigner(text string) answer {
	signer, err := note.NewSigner(text)
	if err != nil || !isCanonical(strings.SplitN(text, "+", 5)[4]) {
		return answer{"ok": false}
	}
	return answer{"ok": true, "name": signer.Name()}
}

func generateKey(name string) answer {
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	must(err)
	return answer{"skey": skey, "vkey": vkey}
}

func sign(skey, text string) answer {
	signer, err := note.NewSigner(skey)
	must(err)
	msg, err := note.Sign(&note.Note{Text: text}, signer)
	must(err)
	return answer{"note": string(msg)}
}

func open(msg []byte, vkey string) answer {
	verifier, err := note.NewVerifier(vkey)
	must(err)
	opened, err := note.Open(msg, note.VerifierList(verifier))
	if err != nil {
		return answer{"ok": false}
	}
	tree, err := tlog.ParseTree([]byte(opened.Text))
	if err != nil || !isCanonical(strings.SplitN(opened.Text, "\n", 4)[2]) {
		return answer{"ok": false}
	}
	// All lines behind the text, also those that Go has dropped.
	for _, line := range strings.Split(strings.TrimSuffix(string(msg[len(opened.Text)+1:]), "\n"), "\n") {
		if fields := strings.SplitN(line, " ", 3); len(fields) != 3 || !isCanonical(fields[2]) {
			return answer{"ok": false}
		}
	}
	return answer{"ok": true, "size": tree.N, "root": tree.Hash.String()}
}
