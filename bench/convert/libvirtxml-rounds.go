// Reads and writes all documents with libvirtxml, in rounds; prints the milliseconds of each as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"libvirt.org/go/libvirtxml"
)

func object(kind string) libvirtxml.Document {
	switch kind {
	case "domain":
		return &libvirtxml.Domain{}
	case "domainsnapshot":
		return &libvirtxml.DomainSnapshot{}
	case "network":
		return &libvirtxml.Network{}
	case "storagepool":
		return &libvirtxml.StoragePool{}
	case "storagevol":
		return &libvirtxml.StorageVolume{}
	}
	panic("unknown kind " + kind)
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var documents [][2]string
	if err := json.Unmarshal(text, &documents); err != nil {
		panic(err)
	}
	rounds, _ := strconv.Atoi(os.Args[2])
	var read, write []float64
	for round := -2; round < rounds; round++ {
		start := time.Now()
		objects := make([]libvirtxml.Document, 0, len(documents))
		for _, document := range documents {
			one := object(document[0])
			if err := one.Unmarshal(document[1]); err != nil {
				continue
			}
			objects = append(objects, one)
		}
		reading := time.Since(start)
		start = time.Now()
		for _, one := range objects {
			if _, err := one.Marshal(); err != nil {
				panic(err)
			}
		}
		writing := time.Since(start)
		// The first two are for warming up.
		if round >= 0 {
			read = append(read, float64(reading.Microseconds())/1000)
			write = append(write, float64(writing.Microseconds())/1000)
		}
	}
	out, _ := json.Marshal(map[string][]float64{"read": read, "write": write})
	fmt.Println(string(out))
}
