package aclcmd

import (
	"errors"
	"flag"
	"fmt"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// Login is the command login.
func Login() command.Command {
	return command.Command{
		Name: "login", Synopsis: "Log in by an auth method to get a token", Access: command.ToDatacenter,
		About: "Shows the agent a credential of somebody else, such as a JWT, and keeps the secret of the token that one gets for it in a file.\n" +
			"legate logout gives it back.",
		Example: "legate login -method=ci -bearer-token-file=id.jwt -token-sink-file=token\nlegate login -method=k8s -bearer-token-file=/var/run/secrets/kubernetes.io/serviceaccount/token -token-sink-file=token -meta=pod=web-1",
		New:     func() command.Action { return &loginAction{} },
	}
}

type loginAction struct {
	method, kind, bearer, sink string
	meta                       command.MapFlag
}

func (a *loginAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.method, "method", "", "`name` of the auth method.")
	fs.StringVar(&a.kind, "type", "", "`type` of the auth method; it need not be given.")
	fs.StringVar(&a.bearer, "bearer-token-file", "", "`file` with the credential, or - for the standard input.")
	fs.StringVar(&a.sink, "token-sink-file", "", "`file` to keep the token's secret in. Only its owner may read it.")
	fs.Var(&a.meta, "meta", "what to say of the token, as `key=value`; may be repeated.")
}

func (a *loginAction) Run(c *command.Call, _ []string) error {
	switch {
	case a.method == "":
		return errors.New("missing -method")
	case a.sink == "":
		return errors.New("missing -token-sink-file")
	case a.bearer == "":
		return errors.New("missing -bearer-token-file")
	case a.kind == "oidc" || a.kind == "aws" || a.kind == "aws-iam":
		return fmt.Errorf("-type=%s is not supported: log in by jwt or kubernetes", a.kind)
	}
	bearer, err := secretFile(c, a.bearer)
	if err != nil {
		return err
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	t, _, err := client.ACL().Login(&api.ACLLoginParams{AuthMethod: a.method, BearerToken: bearer, Meta: a.meta}, nil)
	if err != nil {
		return fmt.Errorf("log in by %q: %w", a.method, err)
	}
	return writeSecret(a.sink, t.SecretID)
}

// Logout is the command logout.
func Logout() command.Command {
	return command.Command{
		Name: "logout", Synopsis: "Give back a token that was got by logging in", Access: command.ToDatacenter,
		About:   "Deletes the token of this command, if legate login got it.",
		Example: "legate logout -token-file=token",
		New:     func() command.Action { return &logoutAction{} },
	}
}

type logoutAction struct{ command.NoFlags }

func (logoutAction) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	if _, err := client.ACL().Logout(nil); err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	return nil
}
