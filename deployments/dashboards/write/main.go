// Command write writes Grafana's files of the dashboards into the folder that
// its argument names.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/legate-project/legate/deployments/dashboards"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: write FOLDER")
		return 2
	}
	for _, d := range dashboards.All() {
		b, err := d.JSON()
		if err == nil {
			err = os.WriteFile(filepath.Join(args[0], d.File()), b, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "write the dashboards:", err)
			return 1
		}
	}
	return 0
}
