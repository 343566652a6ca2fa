package httpapi

import (
	"strings"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/web"
)

// newPage returns the row of the web interface, none if it is off. Everybody may load it: it
// holds nothing of the datacenter, and asks the API with its reader's token.
func newPage(c *Config) ([]rest.Route, error) {
	if !c.UI.Enabled {
		return nil, nil
	}
	page, err := web.New(web.Settings{ContentPath: c.UI.ContentPath, Datacenter: c.Datacenter, Node: c.NodeName,
		Domain: strings.Trim(c.Domain, "."), Access: c.ACL.Enabled, Version: version.Release()}, c.UI.Dir)
	if err != nil {
		return nil, err
	}
	return []rest.Route{{Path: c.UI.ContentPath, Get: func(x *rest.Exchange) error { return x.Delegate(page) }}}, nil
}
