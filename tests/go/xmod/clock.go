package main

import (
	"fmt"
	"log"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/dirhash"
)

// clockZip hashes a zip some times. It prints a line for each: the hash, and the nanoseconds that it took on the clock and on the
// processor.
func clockZip(file, times string) {
	n, err := strconv.Atoi(times)
	if err != nil {
		log.Fatal(err)
	}
	for range n {
		began, before := time.Now(), processorTime()
		hash, err := dirhash.HashZip(file, dirhash.Hash1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(hash, time.Since(began).Nanoseconds(), processorTime()-before)
	}
}

func processorTime() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
