// Package install has the tests of what deployments installs: the package is built,
// installed and run by Debian's own dpkg and systemd, on a machine that is thrown away.
package install
