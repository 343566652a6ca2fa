// Package browser proves what the web interface promises, in a real browser: Debian's chromium,
// against a federation in this process with an emulated WAN. It holds tests only, and what makes
// the pictures of the documentation (make pictures). .ci/run installs the browser and, with npm,
// axe-core, which judges accessibility. A test that misses them is skipped, and fails where CI=true.
package browser
