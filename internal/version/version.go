// Package version says which version of the program this is.
package version

// Release is what this source tree is going to be.
const Release = "0.1.0-dev"
