//go:build !linux

package checks

// hunt has no way to find processes here: what has left the script's group stays.
func hunt(string, bool) bool { return true }

func carries(int, string, bool) bool { return false }

func startedSince(int) []int { return nil }
