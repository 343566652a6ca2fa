//go:build !linux

package labcmd

import "syscall"

// dieTogether asks for nothing: only Linux can.
func dieTogether() *syscall.SysProcAttr { return nil }
