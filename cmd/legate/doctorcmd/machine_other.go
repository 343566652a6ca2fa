//go:build !linux

package doctorcmd

import "context"

const onlyLinux = "it is looked at on Linux alone"

func (m *machine) read(settings) string { return onlyLinux }

func (d *disk) read(string, bool) string { return onlyLinux }

func (p *process) read(settings) string { return onlyLinux }

func ownerOf(string, string) string { return "" }

func measurePaths(context.Context, []path, string) string { return onlyLinux }
