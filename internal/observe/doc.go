// Package observe proves what is watched: Debian's Prometheus scrapes a
// federation of real processes, under load and faults, with the rules that are
// shipped. Every query of every dashboard and every recording rule must give
// data, and every alert must have fired because of a real fault; the few that no
// fault from outside can provoke are listed with the reason.
//
// Everything here is a test. The long form runs for LEGATE_OBSERVE=all, or a
// pattern of the names of some faults, and draws each dashboard from what
// Prometheus recorded into the folder that LEGATE_OBSERVE_PICTURES names.
// Networks and small disks take root.
package observe
