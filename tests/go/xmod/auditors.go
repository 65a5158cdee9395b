package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// How long a server that does not answer is waited for, and how long between two tries.
	patience = 60 * time.Second
	pause    = 5 * time.Millisecond
	// So many go commands run on an auditor's machine at once, and each looks up so many versions before it ends.
	commands = 4
	lookUps  = 16
)

// database is what the first line of standard input says.
type database struct {
	// URL is its base, Key its verifier key.
	URL, Key string
	// Authorization is an admin's, who may read data tiles.
	Authorization string
	// Auditors is how many clients remember a newest head of their own.
	Auditors int
}

// record is one of the log: its number, and what it says.
type record struct {
	id   int64
	text string
}

// witness knows all that the database ever said.
type witness struct {
	database
	verifiers note.Verifiers
	http      *http.Client

	mu sync.Mutex
	// The newest size of which anybody was told.
	newest   int64
	heads    map[tlog.Tree]bool
	answered map[module.Version]record
	believed []module.Version
	wrong    []string
}

// audit watches a database by the clients that x/mod has. Each further line of standard input names a module version, PATH VERSION,
// which is looked up until there is an answer, whatever fails meanwhile: then a line is printed. When standard input
// ends, the whole log is read, and what came of it is printed as a line of JSON.
func audit() {
	in := bufio.NewScanner(os.Stdin)
	if !in.Scan() {
		log.Fatal("no database is named")
	}
	w := &witness{heads: map[tlog.Tree]bool{}, answered: map[module.Version]record{}}
	must(json.Unmarshal(in.Bytes(), &w.database))
	verifier, err := note.NewVerifier(w.Key)
	must(err)
	w.verifiers = note.VerifierList(verifier)
	w.http = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

	names := make(chan module.Version)
	var working sync.WaitGroup
	for range w.Auditors {
		m := &machine{witness: w, tiles: map[string][]byte{}}
		for range commands {
			working.Go(func() { m.work(names) })
		}
	}
	for in.Scan() {
		path, version, _ := strings.Cut(in.Text(), " ")
		names <- module.Version{Path: path, Version: version}
	}
	must(in.Err())
	close(names)
	working.Wait()
	must(json.NewEncoder(os.Stdout).Encode(w.wholeLog()))
}

// blame notes what cannot be said by one log that only grows.
func (w *witness) blame(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// get asks until there is an answer: a server that was killed comes back.
func (w *witness) get(path, authorization string) (int, []byte, error) {
	deadline := time.Now().Add(patience)
	for {
		status, body, err := w.try(path, authorization)
		if err == nil && status < 500 {
			return status, body, nil
		}
		if time.Now().After(deadline) {
			return 0, nil, fmt.Errorf("%s: status %d, %v: %s", path, status, err, body)
		}
		time.Sleep(pause)
	}
}

func (w *witness) try(path, authorization string) (int, []byte, error) {
	request, err := http.NewRequest("GET", w.URL+path, nil)
	must(err)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := w.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// found is the body of a 200.
func (w *witness) found(path, authorization string) ([]byte, error) {
	status, body, err := w.get(path, authorization)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %s", path, status, body)
	}
	return body, err
}

func (w *witness) size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest
}

// sawHead notes a signed head that was told. Somebody was told of a tree of size before when it was asked for: it is no smaller.
func (w *witness) sawHead(msg []byte, before int64) {
	opened, err := note.Open(msg, w.verifiers)
	if err != nil {
		w.blame("a head is not signed: %v: %q", err, msg)
		return
	}
	tree, err := tlog.ParseTree([]byte(opened.Text))
	if err != nil {
		w.blame("a head is none: %v: %q", err, msg)
		return
	}
	if tree.N < before {
		w.blame("the log went back: a head of %d records, after one of %d", tree.N, before)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heads[tree] = true
	w.newest = max(w.newest, tree.N)
}

// sawAnswer notes what a look-up was answered with.
func (w *witness) sawAnswer(remote string, answer []byte, before int64) {
	id, text, head, err := tlog.ParseRecord(answer)
	if err != nil {
		w.blame("%s: the answer is no record: %v: %q", remote, err, answer)
		return
	}
	w.sawHead(head, before)
	name := named(remote)
	now := record{id, string(text)}
	w.mu.Lock()
	first, known := w.answered[name]
	w.answered[name] = now
	w.mu.Unlock()
	if known && first != now {
		w.blame("%s: two answers: %v and %v", name, first, now)
	}
}

// named is the version that a path /lookup/PATH@VERSION asks for.
func named(remote string) module.Version {
	path, version, _ := strings.Cut(strings.TrimPrefix(remote, "/lookup/"), "@")
	var name module.Version
	var err error
	name.Path, err = module.UnescapePath(path)
	must(err)
	name.Version, err = module.UnescapeVersion(version)
	must(err)
	return name
}

// machine is an auditor's: what the go commands on it remember together.
type machine struct {
	*witness
	mu     sync.Mutex
	latest []byte
	tiles  map[string][]byte
}

// work is one go command after the other: each begins with the head that the machine remembers.
func (m *machine) work(names <-chan module.Version) {
	client, asked := sumdb.NewClient(m), 0
	for name := range names {
		if asked++; asked%lookUps == 0 {
			client = sumdb.NewClient(m)
		}
		if !m.believes(client, name) {
			fmt.Println("not believed")
			continue
		}
		before := m.size()
		if head, err := m.found("/latest", ""); err != nil {
			m.blame("%v", err)
		} else {
			m.sawHead(head, before)
		}
		// What another was told.
		m.believes(client, m.believe(name))
	}
}

// believes looks a version up.
func (m *machine) believes(client *sumdb.Client, name module.Version) bool {
	lines, err := client.Lookup(name.Path, name.Version)
	if err != nil || len(lines) != 1 {
		m.blame("a client does not believe it: %v: %q", err, lines)
	}
	return err == nil
}

// believe tells that a version was looked up, and returns any other that was.
func (m *machine) believe(name module.Version) module.Version {
	m.witness.mu.Lock()
	defer m.witness.mu.Unlock()
	fmt.Println(name.Path, name.Version)
	m.believed = append(m.believed, name)
	return m.believed[rand.IntN(len(m.believed))]
}

func (m *machine) ReadRemote(path string) ([]byte, error) {
	before := m.size()
	body, err := m.found(path, "")
	if err == nil && strings.HasPrefix(path, "/lookup/") {
		m.sawAnswer(path, body, before)
	}
	return body, err
}

func (m *machine) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(m.Key), nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest, nil
}

func (m *machine) WriteConfig(_ string, old, new []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !bytes.Equal(m.latest, old) {
		return sumdb.ErrWriteConflict
	}
	m.latest = new
	return nil
}

func (m *machine) ReadCache(file string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if tile, ok := m.tiles[file]; ok {
		return tile, nil
	}
	return nil, errors.New("not kept")
}

// WriteCache keeps tiles alone: what is looked up is asked for each time.
func (m *machine) WriteCache(file string, data []byte) {
	if strings.Contains(file, "/tile/") {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.tiles[file] = data
	}
}

func (m *machine) Log(string) {}

func (m *machine) SecurityError(msg string) { m.blame("SECURITY ERROR: %s", msg) }
