package agent

import "testing"

// Definitions come from clients: they are taken, or refused with what is wrong.
func FuzzRegistration(f *testing.F) {
	for _, body := range []string{
		`{"Name":"web","Port":80,"Tags":["a"],"Meta":{"a":"b"},"Check":{"HTTP":"http://127.0.0.1:1","Interval":"10s","Timeout":"1s"}}`,
		`{"Name":"web","Checks":[{"TTL":"15s"},{"TCP":"127.0.0.1:1","Interval":"1m"},{"Args":["true"],"Interval":"1m"}]}`,
		`{"Name":"web","Weights":{"Passing":-1},"TaggedAddresses":{"lan":{"Address":"x","Port":99999}},"Proxy":{"Config":{"a":[{}]}}}`,
		`{"Name":1}`, `{"Name":"web","Check":{"Interval":10}}`, `[`, ``,
	} {
		f.Add(body, true)
		f.Add(body, false)
	}
	f.Fuzz(func(t *testing.T, body string, service bool) {
		w := start(t)
		path := "/v1/agent/check/register"
		if service {
			path = "/v1/agent/service/register"
		}
		rec := w.Do("PUT", path, body)
		if rec.Code != 200 && (rec.Code < 400 || rec.Code >= 500 || rec.Body.Len() == 0) {
			t.Errorf("%q: %d %q", body, rec.Code, rec.Body)
		}
	})
}
