//go:build linux

package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/legate-project/legate/internal/proctest"
)

func TestMain(m *testing.M) { os.Exit(proctest.Main(m, "../../cmd/legate")) }

const (
	// packagesVar names the folder with the packages of a release. Without it one is
	// made with Debian's own tools of what they hold.
	packagesVar = "LEGATE_PACKAGES"
	// patience is how long the whole life of a package may take on a busy machine.
	patience = 4 * time.Minute
	// root is where paths of the configuration of the packages begin.
	root = "../.."
)

// need fails without programs: tests that are skipped where it counts test nothing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("takes the program %s: %v", p, err)
			}
			t.Skipf("takes the program %s", p)
		}
	}
}

// recipe is what the packages hold.
type recipe struct {
	Name, Maintainer, Description, Section, Priority string
	Depends                                          []string
	Contents                                         []struct {
		Src, Dst, Type string
		Info           struct{ Mode os.FileMode } `yaml:"file_info"`
	}
	Scripts map[string]string
}

func readRecipe(t *testing.T) (r recipe) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "deployments/packages/nfpm.yaml"))
	if err == nil {
		err = yaml.Unmarshal(b, &r)
	}
	if err != nil || len(r.Contents) < 5 {
		t.Fatalf("what the packages hold: %+v, %v", r, err)
	}
	return r
}

// debianPackage returns a package for this machine: of a release, or made here.
func debianPackage(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(packagesVar); dir != "" {
		found, err := filepath.Glob(filepath.Join(dir, "*_"+runtime.GOARCH+".deb"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s holds %v, %v", dir, found, err)
		}
		return found[0]
	}
	r, tree := readRecipe(t), t.TempDir()
	var kept strings.Builder
	for _, c := range r.Contents {
		from := filepath.Join(root, c.Src)
		if c.Src == "${SHARE}" {
			if out, err := exec.Command(filepath.Join(root, "deployments/packages/share.sh"), os.Getenv(proctest.BinaryVar), filepath.Join(tree, c.Dst)).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			continue
		}
		if c.Src == "${BINARY}" {
			from = os.Getenv(proctest.BinaryVar)
		}
		install(t, from, filepath.Join(tree, c.Dst), c.Info.Mode)
		if strings.HasPrefix(c.Type, "config") {
			fmt.Fprintln(&kept, c.Dst)
		}
	}
	control := fmt.Sprintf("Package: %s\nVersion: 0.0.1\nArchitecture: %s\nMaintainer: %s\nDepends: %s\nSection: %s\nPriority: %s\nDescription: %s\n",
		r.Name, runtime.GOARCH, r.Maintainer, strings.Join(r.Depends, ", "), r.Section, r.Priority, strings.ReplaceAll(strings.TrimSpace(r.Description), "\n", "\n "))
	meta := filepath.Join(tree, "DEBIAN")
	if err := errors.Join(os.MkdirAll(meta, 0o755), os.WriteFile(filepath.Join(meta, "control"), []byte(control), 0o644),
		os.WriteFile(filepath.Join(meta, "conffiles"), []byte(kept.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
	for as, script := range map[string]string{"postinst": "postinstall", "prerm": "preremove", "postrm": "postremove"} {
		install(t, filepath.Join(root, r.Scripts[script]), filepath.Join(meta, as), 0o755)
	}
	file := filepath.Join(t.TempDir(), "legate.deb")
	if out, err := exec.Command("dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

func install(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, b, mode), os.Chmod(to, mode))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The package is installed, and its service started, reloaded, watched, stopped and
// removed, by the dpkg and the systemd of this machine.
func TestThePackageLivesUnderSystemd(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("booting systemd in namespaces takes root")
	}
	need(t, "dpkg-deb", "systemd-analyze", "unshare", "setpriv", "ip")
	shared := t.TempDir()
	install(t, debianPackage(t), filepath.Join(shared, "legate.deb"), 0o644)
	install(t, "testdata/systemd.sh", filepath.Join(shared, "steps.sh"), 0o644)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation=private", "/bin/bash", "testdata/machine.sh", shared)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	result, errResult := os.ReadFile(filepath.Join(shared, "result"))
	if strings.TrimSpace(string(result)) == "0" {
		return
	}
	if _, err := os.Stat(filepath.Join(shared, "prepared")); errors.Is(err, os.ErrNotExist) && ctx.Err() == nil {
		t.Skipf("this machine does not let another systemd be prepared:\n%s", out)
	}
	log, errLog := os.ReadFile(filepath.Join(shared, "log"))
	t.Errorf("the steps ended with %q (%v, %v, %v)\n%s\n%s", result, err, errResult, errLog, log, out)
}

// The package for Red Hat is installed into a folder, if a release has made one.
func TestThePackageForRedHatHoldsTheSame(t *testing.T) {
	dir := os.Getenv(packagesVar)
	if dir == "" {
		t.Skip(packagesVar + " names no folder with packages")
	}
	need(t, "rpm")
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	found, err := filepath.Glob(filepath.Join(dir, "*."+machine+".rpm"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s holds %v, %v", dir, found, err)
	}
	to := t.TempDir()
	for _, args := range [][]string{
		{"--initdb", "--root", to}, {"--root", to, "--install", "--nodeps", "--noscripts", found[0]},
	} {
		if out, err := exec.Command("rpm", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	for _, c := range readRecipe(t).Contents {
		info, err := os.Stat(filepath.Join(to, c.Dst))
		if c.Type == "tree" {
			info, err = os.Stat(filepath.Join(to, c.Dst, "man/man1/legate-kv-get.1.gz"))
			c.Info.Mode = 0o644
		}
		if err != nil || info.Mode().Perm() != c.Info.Mode {
			t.Errorf("%s: %v, %v", c.Dst, info, err)
		}
	}
	out, err := exec.Command("rpm", "--query", "--package", "--scripts", found[0]).Output()
	for _, want := range []string{"systemd-sysusers", "disable --now", "daemon-reload"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("the scripts lack %q: %v\n%s", want, err, out)
		}
	}
	if out, err = exec.Command("rpm", "--query", "--package", "--configfiles", found[0]).Output(); err != nil || strings.TrimSpace(string(out)) != "/etc/legate.d/legate.hcl" {
		t.Errorf("files of the configuration: %q, %v", out, err)
	}
}

// A shell that reads what the program prints completes commands, and flags of commands.
func TestShellsCompleteCommands(t *testing.T) {
	dir := t.TempDir()
	program, err := filepath.Abs(os.Getenv(proctest.BinaryVar))
	if err == nil {
		err = os.Symlink(program, filepath.Join(dir, "legate"))
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func(line string, args ...string) string {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		if line != "" {
			cmd.Env = append(cmd.Env, "COMP_LINE="+line)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v", args, err)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}
	if got := run("", "bash", "-c", `source <(legate completion bash) && complete -p legate`); got != "complete -o nospace -C 'legate' legate" {
		t.Errorf("bash completes by %q", got)
	}
	for line, want := range map[string]string{
		"legate kv g": "get", "legate snapsh": "snapshot", "legate kv get -rec": "-recurse", "legate operator raft li": "list-peers", "legate nonsense x": "",
	} {
		words := strings.Fields(line)
		if got := run(line, filepath.Join(dir, "legate"), "legate", words[len(words)-1], words[len(words)-2]); got != want {
			t.Errorf("%s… is completed by %q, want %q", line, got, want)
		}
	}
}

// The image is built of the folder that make image leaves, and is healthy soon after it
// has started, as a user without rights.
func TestTheImageIsHealthy(t *testing.T) {
	dir := os.Getenv("LEGATE_IMAGE")
	if dir == "" {
		t.Skip("LEGATE_IMAGE names no folder of make image")
	}
	need(t, "buildah", "unshare", "ip")
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := filepath.Abs(filepath.Join(root, "deployments/container/Containerfile"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation=private", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
		"/bin/bash", "testdata/image.sh", dir, recipe)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "ready\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
