package deployments

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl"
	"go.yaml.in/yaml/v3"

	"github.com/legate-project/legate/config"
)

// example is how an agent is started somewhere: what follows the word agent, and the
// files of its configuration by their paths there.
type example struct {
	name  string
	args  []string
	files map[string]string
}

// load reads the example's configuration as its agent would, on this machine.
func (e example) load(t *testing.T) *config.Config {
	t.Helper()
	dir := t.TempDir()
	args := []string{"-bind=127.0.0.1"}
	taken := map[string]bool{}
	for _, arg := range e.args {
		flag, path, _ := strings.Cut(arg, "=")
		switch flag {
		case "-config-file", "-config-dir":
			found := false
			for _, name := range slices.Sorted(maps.Keys(e.files)) {
				if name == path || flag == "-config-dir" && filepath.Dir(name) == path {
					found, taken[name] = true, true
					file := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
					if err := os.WriteFile(file, []byte(e.files[name]), 0o600); err != nil {
						t.Fatal(err)
					}
					args = append(args, "-config-file="+file)
				}
			}
			if !found {
				t.Errorf("%s: nothing is at %s", e.name, path)
			}
		default:
			args = append(args, arg)
		}
	}
	for name := range e.files {
		if !taken[name] {
			t.Errorf("%s: %s is not read", e.name, name)
		}
	}
	set := flag.NewFlagSet("agent", flag.ContinueOnError)
	flags := config.RegisterFlags(set)
	if err := set.Parse(args); err != nil || set.NArg() > 0 {
		t.Fatalf("%s: %v, %v", e.name, err, set.Args())
	}
	cfg, warnings, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	for _, w := range warnings {
		if !strings.Contains(w, "means the same as") && !strings.Contains(w, "bootstrap_expect") {
			t.Errorf("%s: %s", e.name, w)
		}
	}
	return cfg
}

// agentArgs is what follows the word agent in a command line.
func agentArgs(t *testing.T, name string, line ...string) []string {
	t.Helper()
	i := slices.Index(line, "agent")
	if i < 0 {
		t.Fatalf("%s starts no agent: %q", name, line)
	}
	return line[i+1:]
}

func text(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// entrypoint is that of the image.
func entrypoint(t *testing.T) []string {
	t.Helper()
	_, after, ok := strings.Cut(text(t, "container/Containerfile"), "\nENTRYPOINT ")
	var line []string
	if err := json.Unmarshal([]byte(after), &line); !ok || err != nil {
		t.Fatalf("the image starts nothing: %q, %v", after, err)
	}
	return line
}

func compose(t *testing.T) (all []example) {
	t.Helper()
	var file struct {
		Services map[string]struct {
			Image               string
			Entrypoint, Command []string
		}
	}
	read(t, "compose/compose.yml", &file)
	for name, s := range file.Services {
		if s.Image == "legate" {
			all = append(all, example{name: name, args: agentArgs(t, name, append(slices.Clone(s.Entrypoint), s.Command...)...)})
		}
	}
	return all
}

func kubernetes(t *testing.T) example {
	t.Helper()
	var set struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Args   []string
						Mounts []struct {
							Name string
							Path string `yaml:"mountPath"`
						} `yaml:"volumeMounts"`
					}
					Volumes []struct {
						Name      string
						ConfigMap struct{ Name string } `yaml:"configMap"`
						Secret    struct {
							Name string `yaml:"secretName"`
						}
					}
				}
			}
		}
	}
	read(t, "kubernetes/statefulset.yaml", &set)
	type generated struct {
		Name  string
		Files []string
	}
	var kustomization struct {
		Resources  []string
		ConfigMaps []generated `yaml:"configMapGenerator"`
		Secrets    []generated `yaml:"secretGenerator"`
	}
	read(t, "kubernetes/kustomization.yaml", &kustomization)
	pod := set.Spec.Template.Spec
	e := example{name: "kubernetes", args: append(agentArgs(t, "the image", entrypoint(t)...), pod.Containers[0].Args...), files: map[string]string{}}
	for _, r := range kustomization.Resources {
		text(t, "kubernetes/"+r)
	}
	for _, v := range pod.Volumes {
		for _, g := range append(kustomization.ConfigMaps, kustomization.Secrets...) {
			if g.Name != v.ConfigMap.Name && g.Name != v.Secret.Name {
				continue
			}
			for _, m := range pod.Containers[0].Mounts {
				if m.Name != v.Name {
					continue
				}
				for _, f := range g.Files {
					content := `encrypt = "bm90IGEgc2VjcmV0LCBvbmx5IGZvciB0aGlzIGRlbW8="` // gossip.hcl is made by who uses it
					if f != "gossip.hcl" {
						content = text(t, "kubernetes/"+f)
					}
					e.files[m.Path+"/"+f] = content
				}
			}
		}
	}
	return e
}

func nomad(t *testing.T) example {
	t.Helper()
	source := text(t, "nomad/legate.nomad.hcl")
	var any map[string]any
	if err := hcl.Decode(&any, source); err != nil {
		t.Fatalf("nomad: %v", err)
	}
	_, after, ok := strings.Cut(source, "<<HCL\n")
	template, after2, ok2 := strings.Cut(after, "\nHCL\n")
	if !ok || !ok2 || !strings.Contains(source, `destination = "secrets/server.hcl"`) || !strings.Contains(after2, "resources") {
		t.Fatal("nomad: the configuration is not found")
	}
	var lines []string
	for line := range strings.Lines(template) {
		if !strings.HasPrefix(line, "{{") {
			lines = append(lines, strings.NewReplacer("{{ .encrypt }}", "bm90IGEgc2VjcmV0LCBvbmx5IGZvciB0aGlzIGRlbW8=", "{{ .join }}", "10.0.0.2").Replace(line))
		}
	}
	var started []string
	for line := range strings.Lines(source) {
		key, value, _ := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); key == "entrypoint" || key == "args" {
			var words []string
			if err := json.Unmarshal([]byte(value), &words); err != nil {
				t.Fatalf("nomad: %s: %v", key, err)
			}
			started = append(started, words...)
		}
	}
	return example{name: "nomad", args: agentArgs(t, "nomad", started...), files: map[string]string{"/secrets/server.hcl": strings.Join(lines, "")}}
}

// service is the agent of the packages, with what it finds in its folder.
func service(t *testing.T, name string, files map[string]string) example {
	t.Helper()
	for line := range strings.Lines(text(t, "systemd/legate.service")) {
		if command, ok := strings.CutPrefix(line, "ExecStart="); ok {
			return example{name, agentArgs(t, name, strings.Fields(command)...), files}
		}
	}
	t.Fatal("the service starts nothing")
	return example{}
}

func cloudInit(t *testing.T) map[string]string {
	t.Helper()
	source := text(t, "cloud-init/server.yaml")
	var file struct {
		Files []struct{ Path, Content string } `yaml:"write_files"`
		Run   [][]string                       `yaml:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(source), &file); err != nil || !strings.HasPrefix(source, "#cloud-config\n") || len(file.Run) == 0 {
		t.Fatalf("cloud-init: %+v, %v", file, err)
	}
	files := map[string]string{}
	for _, f := range file.Files {
		files[f.Path] = f.Content
	}
	return files
}

// Each agent that an example starts takes its flags and its configuration as they are.
func TestExamplesStartAgents(t *testing.T) {
	packaged := text(t, "packages/legate.hcl")
	init := cloudInit(t)
	init["/etc/legate.d/legate.hcl"] = packaged
	uncommented := strings.NewReplacer("# encrypt = \"\"", `encrypt = "bm90IGEgc2VjcmV0LCBvbmx5IGZvciB0aGlzIGRlbW8="`,
		"# retry_join", "retry_join", "# server ", "server ", "# bootstrap_expect", "bootstrap_expect").Replace(packaged)
	for _, e := range append(compose(t), kubernetes(t), nomad(t), service(t, "packages, filled in", map[string]string{"/etc/legate.d/legate.hcl": uncommented}),
		service(t, "cloud-init", init)) {
		cfg := e.load(t)
		if len(cfg.EncryptKey) == 0 || cfg.DataDir == "" || len(cfg.RetryJoin)+len(cfg.RetryJoinWAN) == 0 {
			t.Errorf("%s: an agent without a key, without state, or alone: %q", e.name, e.args)
		}
		if want := e.files != nil || slices.Contains(e.args, "-server"); cfg.Server != want {
			t.Errorf("%s: server is %v", e.name, cfg.Server)
		}
	}
	if cfg := service(t, "packages", map[string]string{"/etc/legate.d/legate.hcl": packaged}).load(t); cfg.Server || cfg.DataDir != "/var/lib/legate" {
		t.Errorf("what the packages bring is %+v", cfg)
	}
}
