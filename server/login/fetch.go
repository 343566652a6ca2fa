package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

const (
	// maxAnswer bounds what a server of somebody else sends, in bytes.
	maxAnswer = 1 << 20
	// maxRedirects bounds how often keys are looked for elsewhere.
	maxRedirects = 3
)

var errTooLong = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)

// newClient returns a client for servers that the roots vouch for. Connections are not
// kept: keys are fetched seldom, and nothing has to be closed when a configuration goes.
func newClient(roots *x509.CertPool, redirects int) *http.Client {
	return &http.Client{
		Timeout: verifyTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: verifyTimeout, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case len(via) > redirects:
				return errors.New("it was redirected too often")
			case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
				return errors.New("it was redirected from https to " + req.URL.Scheme)
			}
			return nil
		},
	}
}

// statusError is an answer other than the one that was hoped for.
type statusError struct{ status int }

// Error implements error.
func (e *statusError) Error() string {
	return fmt.Sprintf("the answer is %d %s", e.status, http.StatusText(e.status))
}

// do sends a request and reads the answer into v. Errors name the host, and nothing of
// the request or the answer.
func do(client *http.Client, req *http.Request, v any) error {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "legate")
	err := exchange(client, req, v)
	if err == nil {
		return nil
	}
	var u *url.Error
	if errors.As(err, &u) { // which shows the whole URL
		err = u.Err
	}
	return fmt.Errorf("ask %s: %w", req.URL.Host, err)
}

func exchange(client *http.Client, req *http.Request, v any) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return &statusError{resp.StatusCode}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return err
	case len(b) > maxAnswer:
		return errTooLong
	case json.Unmarshal(b, v) != nil:
		return errors.New("the answer is not the JSON that was expected")
	}
	return nil
}

// get reads what is at a URL into v.
func get(ctx context.Context, client *http.Client, target string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return errors.New("the URL cannot be asked")
	}
	return do(client, req, v)
}

// request makes one that shows a bearer and has a body in JSON, if any is given.
func request(ctx context.Context, target, bearer string, body any) (*http.Request, error) {
	way, content := http.MethodGet, io.Reader(http.NoBody)
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		way, content = http.MethodPost, bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, way, target, content)
	if err != nil {
		return nil, errors.New("the URL cannot be asked")
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}
