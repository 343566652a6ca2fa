// Package deployments carries the files that Prometheus and Grafana are set up
// with: rules and provisioning. The dashboards are in the package dashboards,
// which their files are written from.
package deployments

import "embed"

// Files are prometheus/*.rules.yml and grafana/provisioning.
//
//go:embed prometheus/*.rules.yml grafana/provisioning
var Files embed.FS
