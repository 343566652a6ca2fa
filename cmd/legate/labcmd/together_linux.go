package labcmd

import "syscall"

// dieTogether has a child killed when the thread ends that started it.
func dieTogether() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
