//go:build race

package transport

// raceDetector: what takes long by itself takes too long with the detector.
const raceDetector = true
