package host

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// fill reads what Linux tells in /proc, /sys and /etc.
func (h *Info) fill() {
	h.fault("memory", h.readMemory())
	h.fault("processors", h.readCPU())
	h.fault("system", h.readSystem())
	h.fault("disk", h.readDisk())
}

// pairs calls use for each line of a file that is a key and a value.
func pairs(name, separator string, use func(key, value string)) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, separator); ok {
			use(strings.TrimSpace(key), strings.TrimSpace(value))
		}
	}
	return nil
}

func (h *Info) readMemory() error {
	m := h.Memory
	var reclaimable uint64
	fields := map[string]*uint64{"MemTotal": &m.Total, "MemAvailable": &m.Available, "MemFree": &m.Free, "Active": &m.Active,
		"Inactive": &m.Inactive, "Buffers": &m.Buffers, "Cached": &m.Cached, "Dirty": &m.Dirty, "Writeback": &m.WriteBack,
		"Shmem": &m.Shared, "Slab": &m.Slab, "SReclaimable": &reclaimable, "SwapTotal": &m.SwapTotal, "SwapFree": &m.SwapFree}
	err := pairs("/proc/meminfo", ":", func(key, value string) {
		if to := fields[key]; to != nil {
			kib, _ := strconv.ParseUint(strings.TrimSuffix(value, " kB"), 10, 64) // the kernel writes numbers
			*to = kib << 10
		}
	})
	m.Cached += reclaimable
	m.Used = max(m.Total, m.Free+m.Buffers+m.Cached) - m.Free - m.Buffers - m.Cached
	m.UsedPercent = percent(m.Used, m.Total)
	return err
}

func (h *Info) readCPU() error {
	return pairs("/proc/cpuinfo", ":", func(key, value string) {
		n, _ := strconv.ParseInt(strings.TrimSuffix(value, " KB"), 10, 32)
		if key == "processor" {
			h.CPU = append(h.CPU, CPU{CPU: int32(n), Cores: 1, Flags: []string{}})
			return
		}
		if len(h.CPU) == 0 {
			return
		}
		c := &h.CPU[len(h.CPU)-1]
		switch key {
		case "vendor_id", "CPU implementer":
			c.VendorID = value
		case "cpu family":
			c.Family = value
		case "model", "CPU part":
			c.Model = value
		case "stepping":
			c.Stepping = int32(n)
		case "physical id":
			c.PhysicalID = value
		case "core id":
			c.CoreID = value
		case "model name":
			c.ModelName = value
		case "cpu MHz":
			c.Mhz, _ = strconv.ParseFloat(value, 64)
		case "cache size":
			c.CacheSize = int32(n)
		case "microcode":
			c.Microcode = value
		case "flags", "Features":
			c.Flags = strings.Fields(value)
		}
	})
}

func (h *Info) readSystem() error {
	s := h.Host
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return fmt.Errorf("sysinfo: %w", err)
	}
	s.Uptime = uint64(info.Uptime)
	s.BootTime = uint64(h.CollectionTime/1e9) - s.Uptime
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, p := range procs {
		if _, err := strconv.ParseUint(p.Name(), 10, 64); err == nil {
			s.Procs++
		}
	}
	for _, f := range []struct {
		name string
		to   *string
	}{{"/proc/sys/kernel/osrelease", &s.KernelVersion}, {"/etc/machine-id", &s.HostID}} {
		b, err := os.ReadFile(f.name)
		h.fault("system", err)
		*f.to = strings.TrimSpace(string(b))
	}
	return pairs("/etc/os-release", "=", func(key, value string) {
		value = strings.Trim(value, `"`)
		switch key {
		case "ID":
			s.Platform = value
			if s.PlatformFamily == "" {
				s.PlatformFamily = value
			}
		case "ID_LIKE":
			s.PlatformFamily, _, _ = strings.Cut(value, " ")
		case "VERSION_ID":
			s.PlatformVersion = value
		}
	})
}

func (h *Info) readDisk() error {
	d := h.Disk
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.Path, &fs); err != nil {
		return fmt.Errorf("statfs %s: %w", d.Path, err)
	}
	size := uint64(fs.Bsize)
	d.Total, d.Free, d.Used = fs.Blocks*size, fs.Bavail*size, (fs.Blocks-fs.Bfree)*size
	d.UsedPercent = percent(d.Used, d.Used+d.Free)
	d.InodesTotal, d.InodesFree, d.InodesUsed = fs.Files, fs.Ffree, fs.Files-fs.Ffree
	d.InodesUsedPercent = percent(d.InodesUsed, d.InodesTotal)
	return nil
}
