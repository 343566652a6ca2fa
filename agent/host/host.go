// Package host describes the machine that an agent runs on, as /v1/agent/host shows
// it. What cannot be found out is named and left at zero.
package host

import (
	"os"
	"runtime"
	"time"
)

// Info describes the machine of an agent, under the names that gopsutil
// gives what it reads, since clients know those. Sizes are in bytes.
type Info struct {
	Memory *Memory
	CPU    []CPU
	Host   *System
	Disk   *Disk
	// CollectionTime in nanoseconds since 1970.
	CollectionTime int64
	// Errors says what could not be found out.
	Errors []string
}

// Memory is in bytes.
type Memory struct {
	Total       uint64  `json:"total"`
	Available   uint64  `json:"available"`
	Used        uint64  `json:"used"`
	UsedPercent float64 `json:"usedPercent"`
	Free        uint64  `json:"free"`
	Active      uint64  `json:"active"`
	Inactive    uint64  `json:"inactive"`
	Buffers     uint64  `json:"buffers"`
	Cached      uint64  `json:"cached"`
	Dirty       uint64  `json:"dirty"`
	WriteBack   uint64  `json:"writeBack"`
	Shared      uint64  `json:"shared"`
	Slab        uint64  `json:"slab"`
	SwapTotal   uint64  `json:"swapTotal"`
	SwapFree    uint64  `json:"swapFree"`
}

// CPU is one processor.
type CPU struct {
	CPU        int32    `json:"cpu"`
	VendorID   string   `json:"vendorId"`
	Family     string   `json:"family"`
	Model      string   `json:"model"`
	Stepping   int32    `json:"stepping"`
	PhysicalID string   `json:"physicalId"`
	CoreID     string   `json:"coreId"`
	Cores      int32    `json:"cores"`
	ModelName  string   `json:"modelName"`
	Mhz        float64  `json:"mhz"`
	CacheSize  int32    `json:"cacheSize"`
	Flags      []string `json:"flags"`
	Microcode  string   `json:"microcode"`
}

// System is the operating system.
type System struct {
	Hostname        string `json:"hostname"`
	Uptime          uint64 `json:"uptime"`   // seconds
	BootTime        uint64 `json:"bootTime"` // seconds since 1970
	Procs           uint64 `json:"procs"`
	OS              string `json:"os"`
	Platform        string `json:"platform"`
	PlatformFamily  string `json:"platformFamily"`
	PlatformVersion string `json:"platformVersion"`
	KernelVersion   string `json:"kernelVersion"`
	KernelArch      string `json:"kernelArch"`
	HostID          string `json:"hostid"`
}

// Disk is the file system of a directory, in bytes and inodes.
type Disk struct {
	Path              string  `json:"path"`
	Total             uint64  `json:"total"`
	Free              uint64  `json:"free"`
	Used              uint64  `json:"used"`
	UsedPercent       float64 `json:"usedPercent"`
	InodesTotal       uint64  `json:"inodesTotal"`
	InodesUsed        uint64  `json:"inodesUsed"`
	InodesFree        uint64  `json:"inodesFree"`
	InodesUsedPercent float64 `json:"inodesUsedPercent"`
}

// Read describes this machine and the disk of a directory. What cannot be
// found out is named in Errors and left at zero.
func Read(dir string) *Info {
	h := &Info{Memory: &Memory{}, CPU: []CPU{}, Disk: &Disk{Path: dir}, Errors: []string{}, CollectionTime: time.Now().UnixNano(),
		Host: &System{OS: runtime.GOOS, KernelArch: runtime.GOARCH}}
	name, err := os.Hostname()
	h.fault("host name", err)
	h.Host.Hostname = name
	h.fill()
	return h
}

func (h *Info) fault(what string, err error) {
	if err != nil {
		h.Errors = append(h.Errors, what+": "+err.Error())
	}
}

func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}
