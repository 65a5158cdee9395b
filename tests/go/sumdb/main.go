// Command sumdb is the checksum database of the tests: golang.org/x/mod's own server over an in-memory tree,
// which takes the hashes of a module from the GOPROXY that it is told of.
//
// It prints two lines, `key VERIFIER` and `listen ADDR`, serves until its standard input ends, and
// calls itself in the User-Agent of what it asks, so that a recording upstream can tell it from a client.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"
)

const userAgent = "fixture-sumdb"

func main() {
	log.SetFlags(0)
	log.SetPrefix("sumdb: ")
	name := flag.String("name", "sum.example.net", "name of the database")
	upstream := flag.String("upstream", "", "GOPROXY that has the modules")
	preload := flag.String("preload", "", "modules to record at the start, path@version, separated by commas")
	flag.Parse()

	signer, verifier, err := note.GenerateKey(rand.Reader, *name)
	if err != nil {
		log.Fatal(err)
	}
	proxy := proxy(strings.TrimSuffix(*upstream, "/"))
	ops := sumdb.NewTestServer(signer, proxy.gosum)
	for _, m := range strings.FieldsFunc(*preload, func(r rune) bool { return r == ',' }) {
		path, version, _ := strings.Cut(m, "@")
		if _, err := ops.Lookup(context.Background(), module.Version{Path: path, Version: version}); err != nil {
			log.Fatal(err)
		}
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := sumdb.NewServer(ops)
	mux := http.NewServeMux()
	for _, path := range sumdb.ServerPaths {
		mux.Handle(path, server)
	}
	go func() { log.Fatal(http.Serve(listener, mux)) }()
	fmt.Printf("key %s\nlisten %s\n", verifier, listener.Addr())
	io.Copy(io.Discard, os.Stdin)
}

// A proxy is the base URL of a GOPROXY.
type proxy string

// gosum returns the two go.sum lines of a module version; an error for which os.IsNotExist holds if there is no such version.
func (p proxy) gosum(path, version string) ([]byte, error) {
	escapedPath, err := module.EscapePath(path)
	if err != nil {
		return nil, err
	}
	escapedVersion, err := module.EscapeVersion(version)
	if err != nil {
		return nil, err
	}
	base := string(p) + "/" + escapedPath + "/@v/" + escapedVersion
	zip, err := get(base + ".zip")
	if err != nil {
		return nil, err
	}
	mod, err := get(base + ".mod")
	if err != nil {
		return nil, err
	}
	zipHash, err := hashZip(zip)
	if err != nil {
		return nil, err
	}
	modHash, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(mod)), nil
	})
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", path, version, zipHash, path, version, modHash), nil
}

// hashZip hashes a zip that lies in memory; dirhash wants it in a file.
func hashZip(zip []byte) (string, error) {
	file, err := os.CreateTemp("", "sumdb-*.zip")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(zip); err != nil {
		return "", err
	}
	if err := file.Close(); err != nil {
		return "", err
	}
	return dirhash.HashZip(file.Name(), dirhash.Hash1)
}

func get(url string) ([]byte, error) {
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", userAgent)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return io.ReadAll(response.Body)
	case http.StatusNotFound, http.StatusGone:
		return nil, &fs.PathError{Op: "lookup", Path: url, Err: fs.ErrNotExist}
	}
	return nil, fmt.Errorf("%s: %s", url, response.Status)
}
