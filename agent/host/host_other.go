//go:build !linux

package host

import "runtime"

// fill tells what the Go runtime knows.
func (h *Info) fill() {
	for i := range runtime.NumCPU() {
		h.CPU = append(h.CPU, CPU{CPU: int32(i), Cores: 1, Flags: []string{}})
	}
	h.Errors = append(h.Errors, "memory and disk are only read on Linux")
}
