// Command site writes the documentation as a site that is read from disk: pages, and a
// search that asks no server.
//
// It fails on a link within the documentation that leads nowhere.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() { os.Exit(run()) }

func run() int {
	from := flag.String("from", ".", "the source tree, as a `folder`")
	to := flag.String("to", "dist/site", "the `folder` to write to")
	flag.Parse()
	n, err := write(*from, *to)
	if err != nil {
		fmt.Fprintf(os.Stderr, "write the site:\n%v\n", err)
		return 1
	}
	fmt.Printf("%d pages are in %s: open index.html there.\n", n, *to)
	return 0
}
