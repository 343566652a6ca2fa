// Command reference writes the reference page of the configuration to the
// file that its argument names.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/legate-project/legate/config"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: reference FILE")
		return 2
	}
	var page bytes.Buffer
	err := config.WriteReference(&page)
	if err == nil {
		err = os.WriteFile(args[0], page.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "write the configuration reference:", err)
		return 1
	}
	return 0
}
