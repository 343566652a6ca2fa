package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/legate-project/legate/config"
)

// maxHTTPHeader is how many bytes the headers of an answer may have; with
// more, the check is critical.
const maxHTTPHeader = 64 << 10

// httpProbe asks a URL: 2xx passes, 429 warns, everything else is critical.
type httpProbe struct {
	def    *config.CheckDefinition
	method string
	client *http.Client
	limit  int
}

func newHTTP(d *config.CheckDefinition) (Prober, error) {
	u, err := url.Parse(d.HTTP)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("check %q: %q is no http or https URL", d.Name, d.HTTP)
	}
	p := &httpProbe{def: d, method: strings.ToUpper(d.Method), limit: outputLimit(d)}
	if p.method == "" {
		p.method = http.MethodGet
	}
	p.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives:   true, // a check is to see what a new client sees
		TLSClientConfig:     &tls.Config{ServerName: d.TLSServerName, InsecureSkipVerify: d.TLSSkipVerify},
		TLSHandshakeTimeout: DefaultTimeout,
		// Nothing that a header says is used.
		MaxResponseHeaderBytes: maxHTTPHeader,
	}}
	if d.DisableRedirects {
		p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return p, nil
}

// Probe implements Prober.
func (p *httpProbe) Probe(ctx context.Context) Result {
	var body io.Reader
	if p.def.Body != "" {
		body = strings.NewReader(p.def.Body)
	}
	req, err := http.NewRequestWithContext(ctx, p.method, p.def.HTTP, body)
	if err != nil {
		return Result{Critical, err.Error()}
	}
	for name, values := range p.def.Header {
		for _, v := range values {
			req.Header.Add(name, v)
		}
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "Legate Health Check")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return Result{Critical, err.Error()}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, int64(p.limit)))
	if err != nil {
		return Result{Critical, fmt.Sprintf("HTTP %s %s: %s, then: %v", p.method, p.def.HTTP, resp.Status, err)}
	}
	r := Result{Critical, fmt.Sprintf("HTTP %s %s: %s Output: %s", p.method, p.def.HTTP, resp.Status, b)}
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		r.Status = Passing
	case resp.StatusCode == http.StatusTooManyRequests:
		r.Status = Warning
	}
	return r
}
