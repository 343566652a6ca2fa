package config

import (
	"regexp"
	"strings"
)

// checkUI judges ui_config. The content path gets the slashes that it lacks.
func (f *finisher) checkUI() {
	ui := &f.cfg.UIConfig
	ui.ContentPath = strings.ReplaceAll("/"+strings.Trim(ui.ContentPath, "/")+"/", "//", "/")
	switch first, _, _ := strings.Cut(ui.ContentPath[1:], "/"); {
	case !regexp.MustCompile(`^(/[A-Za-z0-9_-]{1,64}){1,8}/$`).MatchString(ui.ContentPath):
		f.fault("ui_config.content_path", "%q must be one to eight names of letters, digits, '-' and '_' with slashes between, such as /ui/", ui.ContentPath)
	case first == "v1" || first == "metrics" || first == "debug":
		f.fault("ui_config.content_path", "%q is where the HTTP API is: take another, such as /ui/", ui.ContentPath)
	}
	if ui.Dir != "" && !ui.Enabled {
		f.note("ui_config.dir", "ui_config.dir has no effect while ui_config.enabled is false")
	}
}
