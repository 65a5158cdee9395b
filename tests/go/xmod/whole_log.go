package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// So many questions of the whole log at once.
	atOnce = 8
	// So much of what is wrong is told.
	toldMax = 20
)

// report is what came of an audit.
type report struct {
	Records int64    `json:"records"`
	Heads   int      `json:"heads"`
	Answers int      `json:"answers"`
	Tiles   int64    `json:"tiles"`
	LookUps int64    `json:"look_ups"`
	Wrongs  int      `json:"wrongs"`
	Wrong   []string `json:"wrong"`
}

// whole is the log as its data tiles have it, and what follows from them.
type whole struct {
	*witness
	head    tlog.Tree
	records []string
	hashes  []tlog.Hash
	tiles   atomic.Int64
	lookUps atomic.Int64
}

func (l *whole) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(l.hashes)) {
			return nil, errors.New("not in the log")
		}
		hashes[i] = l.hashes[index]
	}
	return hashes, nil
}

// wholeLog reads everything, and holds all that was ever said against it.
func (w *witness) wholeLog() report {
	l := &whole{witness: w}
	if err := l.read(); err != nil {
		w.blame("the log cannot be read: %v", err)
	} else {
		l.everyTile()
		l.everyHead()
		l.everyAnswer()
		l.everyName()
	}
	return report{
		Records: l.head.N, Heads: len(w.heads), Answers: len(w.answered), Tiles: l.tiles.Load(), LookUps: l.lookUps.Load(),
		Wrongs: len(w.wrong), Wrong: w.wrong[:min(len(w.wrong), toldMax)],
	}
}

// read takes the newest head, and the records from the widest data tiles of its tree. Their root is the head's.
func (l *whole) read() error {
	before := l.size()
	msg, err := l.found("/latest", "")
	if err != nil {
		return err
	}
	l.sawHead(msg, before)
	l.head, err = tlog.ParseTree(msg)
	if err != nil {
		return err
	}
	for first := int64(0); first < l.head.N; first += tileWidth {
		tile := tlog.Tile{H: tileHeight, L: -1, N: first / tileWidth, W: int(min(tileWidth, l.head.N-first))}
		data, err := l.found("/"+tile.Path(), l.Authorization)
		if err != nil {
			return err
		}
		texts := strings.SplitAfter(string(data), "\n\n")
		// Behind the last there is nothing.
		if len(texts) != tile.W+1 || texts[tile.W] != "" {
			return fmt.Errorf("%s has %d records", tile.Path(), len(texts)-1)
		}
		for _, text := range texts[:tile.W] {
			text = strings.TrimSuffix(text, "\n")
			hashes, err := tlog.StoredHashes(int64(len(l.records)), []byte(text), l)
			if err != nil {
				return err
			}
			l.records = append(l.records, text)
			l.hashes = append(l.hashes, hashes...)
		}
	}
	root, err := tlog.TreeHash(l.head.N, l)
	if err == nil && root != l.head.Hash {
		err = fmt.Errorf("the root of its records is %v, not %v", root, l.head.Hash)
	}
	return err
}

// each runs check for every item, several at once.
func each[T any](items []T, check func(T)) {
	queue := make(chan T)
	var working sync.WaitGroup
	for range atOnce {
		working.Go(func() {
			for item := range queue {
				check(item)
			}
		})
	}
	for _, item := range items {
		queue <- item
	}
	close(queue)
	working.Wait()
}

// everyTile asks for each tile, of hashes and of records, at each width that the tree has; and for the first width that it has not.
func (l *whole) everyTile() {
	var tiles []tlog.Tile
	add := func(level int, count int64) {
		for place := range count/tileWidth + 1 {
			widest := int(min(tileWidth, count-place*tileWidth+1))
			for width := 1; width <= widest; width++ {
				tiles = append(tiles, tlog.Tile{H: tileHeight, L: level, N: place, W: width})
			}
		}
	}
	add(-1, l.head.N)
	for level := 0; l.head.N>>(tileHeight*level) > 0; level++ {
		add(level, l.head.N>>(tileHeight*level))
	}
	each(tiles, l.tile)
}

// tile asks for one, and holds it against the records.
func (l *whole) tile(tile tlog.Tile) {
	status, content, err := l.get("/"+tile.Path(), l.Authorization)
	if err != nil {
		l.blame("%v", err)
		return
	}
	hashed := l.head.N >> (tileHeight * max(tile.L, 0))
	if tile.N*tileWidth+int64(tile.W) > hashed {
		if status != http.StatusNotFound {
			l.blame("%s lies beyond the tree: status %d", tile.Path(), status)
		}
		return
	}
	expected, err := l.expected(tile)
	must(err)
	if status != http.StatusOK || !bytes.Equal(content, expected) {
		l.blame("%s is not what the records come to: status %d, %d bytes", tile.Path(), status, len(content))
	}
	l.tiles.Add(1)
}

// expected is what a tile of the tree holds.
func (l *whole) expected(tile tlog.Tile) ([]byte, error) {
	if tile.L >= 0 {
		return tlog.ReadTileData(tile, l)
	}
	first := tile.N * tileWidth
	return []byte(strings.Join(l.records[first:first+int64(tile.W)], "\n") + "\n"), nil
}

// everyHead has each head that was ever told proven by the newest one: so all of them are of one log.
func (l *whole) everyHead() {
	for head := range l.heads {
		if err := l.follows(head); err != nil {
			l.blame("the log does not go on from a head of %d records, %v: %v", head.N, head.Hash, err)
		}
	}
}

func (l *whole) follows(older tlog.Tree) error {
	if older.N == 0 {
		empty, err := tlog.TreeHash(0, l)
		must(err)
		if older.Hash != empty {
			return errors.New("it is not that of no records")
		}
		return nil
	}
	if older.N > l.head.N {
		return fmt.Errorf("it has %d records now", l.head.N)
	}
	proof, err := tlog.ProveTree(l.head.N, older.N, l)
	must(err)
	return tlog.CheckTree(proof, l.head.N, l.head.Hash, older.N, older.Hash)
}

// everyAnswer looks for each record that was ever told.
func (l *whole) everyAnswer() {
	for name, told := range l.answered {
		if told.id >= l.head.N || l.records[told.id] != told.text {
			l.blame("%s: record %d was told, and is not in the log", name, told.id)
		}
	}
}

// everyName has clients that remember nothing look up what the log has, each of its names once.
func (l *whole) everyName() {
	ids := map[module.Version]int64{}
	for id, text := range l.records {
		fields := strings.Fields(text)
		name := module.Version{Path: fields[0], Version: fields[1]}
		if first, twice := ids[name]; twice {
			l.blame("%s has two records, %d and %d", name, first, id)
		}
		ids[name] = int64(id)
	}
	client := sumdb.NewClient(&machine{witness: l.witness, tiles: map[string][]byte{}})
	names := make([]module.Version, 0, len(ids))
	for name := range ids {
		names = append(names, name)
	}
	each(names, func(name module.Version) {
		l.lookUps.Add(1)
		first, _, _ := strings.Cut(l.records[ids[name]], "\n")
		if lines, err := client.Lookup(name.Path, name.Version); err != nil || len(lines) != 1 || lines[0] != first {
			l.blame("a client does not believe it: %v: %q", err, lines)
		}
	})
}
