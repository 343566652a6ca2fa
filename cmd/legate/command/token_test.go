package command_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/legate-project/legate/cmd/legate/command"
)

// ask asks the agent one question.
type ask struct{ command.NoFlags }

func (ask) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err == nil {
		_, err = client.Status().Leader()
	}
	return err
}

// A token comes from flags, and without those from the environment; a file counts before
// a token.
func TestWhereTheTokenComesFrom(t *testing.T) {
	shown := ""
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("X-Consul-Token")
		_, _ = w.Write([]byte(`""`))
	}))
	defer agent.Close()
	file := func(name string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		flags   []string
		env     map[string]string
		want    string
		refused string
	}{
		{},
		{flags: []string{"-token=flag"}, want: "flag"},
		{flags: []string{"-token-file=" + file("of-file")}, want: "of-file"},
		{flags: []string{"-token=flag", "-token-file=" + file("of-file")}, want: "of-file"},
		{env: map[string]string{"CONSUL_HTTP_TOKEN": "env"}, want: "env"},
		{env: map[string]string{"CONSUL_HTTP_TOKEN_FILE": file("of-env-file")}, want: "of-env-file"},
		{env: map[string]string{"CONSUL_HTTP_TOKEN": "env", "CONSUL_HTTP_TOKEN_FILE": file("of-env-file")}, want: "of-env-file"},
		{flags: []string{"-token=flag"}, env: map[string]string{"CONSUL_HTTP_TOKEN": "env", "CONSUL_HTTP_TOKEN_FILE": file("of-env-file")}, want: "flag"},
		{flags: []string{"-token-file=/does/not/exist"}, refused: "/does/not/exist"},
	} {
		for _, name := range []string{"CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE"} {
			t.Setenv(name, c.env[name])
		}
		shown = ""
		var out, errs strings.Builder
		p := &command.Program{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
			Commands: []command.Command{{Name: "ask", Access: command.ToAgent, New: func() command.Action { return ask{} }}}}
		code := p.Run(append([]string{"ask", "-http-addr=" + agent.URL}, c.flags...))
		if shown != c.want || (code != 0) != (c.refused != "") || !strings.Contains(errs.String(), c.refused) {
			t.Errorf("%q with %v: code %d, token %q, want %q\n%s", c.flags, c.env, code, shown, c.want, errs.String())
		}
	}
}
