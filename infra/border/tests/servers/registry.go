// A registry in memory that others wrote, with the referrers API, and with tags that never change where asked for.
// It prints its address and serves until its standard input ends.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

func main() {
	immutable := flag.Bool("immutable", false, "refuse to move a tag")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	backend := ocimem.NewWithConfig(&ocimem.Config{ImmutableTags: *immutable})
	go func() { log.Fatal(http.Serve(listener, ociserver.New(backend, nil))) }()
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
}
