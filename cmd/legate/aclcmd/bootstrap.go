package aclcmd

import (
	"fmt"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// Bootstrap is the command acl bootstrap.
func Bootstrap() command.Command {
	return command.Command{
		Name: "acl bootstrap", Synopsis: "Make the first token", Args: "[FILE]", Max: 1, Access: command.ToDatacenter,
		About: "Makes the first token, which may do everything, and shows it: once. FILE, or - for the standard input, has a UUID to use as its secret.\n" +
			"When it is lost: the refusal names a reset index. Write that into the file acl-bootstrap-reset in the leader's data_dir, and bootstrap again.",
		Example: "legate acl bootstrap\nlegate acl bootstrap -format=json\nuuidgen | legate acl bootstrap -",
		New:     func() command.Action { return &bootstrapAction{} },
	}
}

type bootstrapAction struct{ output }

func (a *bootstrapAction) Run(c *command.Call, args []string) error {
	secret := ""
	if len(args) > 0 {
		var err error
		if secret, err = secretFile(c, args[0]); err != nil {
			return err
		}
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	t, _, err := client.ACL().BootstrapWithToken(secret)
	if err != nil {
		return fmt.Errorf("bootstrap access control: %w", err)
	}
	return a.show(c, t, func(p *page) { p.wholeToken(t) })
}

// SetAgentToken is the command acl set-agent-token.
func SetAgentToken() command.Command {
	return command.Command{
		Name: "acl set-agent-token", Synopsis: "Set a token that the agent itself uses", Args: "TYPE TOKEN", Min: 2, Max: 2, Access: command.ToAgent,
		About: "Sets one of the agent's own tokens, over that of its configuration. TYPE is one of: default (of requests that bring none), agent (what the agent does itself),\n" +
			"recovery (accepted by this agent while no server can be asked), replication, config_file_service_registration, dns.\n" +
			"With enable_token_persistence it is kept in data_dir.",
		Example: "legate acl set-agent-token agent c4d0f8df-3aba-4ab6-a7a0-35b760dc29a1\nlegate acl set-agent-token default c4d0f8df-3aba-4ab6-a7a0-35b760dc29a1",
		New:     func() command.Action { return &setAgentTokenAction{} },
	}
}

type setAgentTokenAction struct{ command.NoFlags }

func (*setAgentTokenAction) Run(c *command.Call, args []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	agent := client.Agent()
	var set func(string, *api.WriteOptions) (*api.WriteMeta, error)
	switch args[0] {
	case "default":
		set = agent.UpdateDefaultACLToken
	case "agent":
		set = agent.UpdateAgentACLToken
	case "recovery", "agent_recovery", "master", "agent_master":
		set = agent.UpdateAgentRecoveryACLToken
	case "replication":
		set = agent.UpdateReplicationACLToken
	case "config_file_service_registration":
		set = agent.UpdateConfigFileRegistrationToken
	case "dns":
		set = agent.UpdateDNSToken
	default:
		return fmt.Errorf("unknown token type %q: it is default, agent, recovery, replication, config_file_service_registration or dns", args[0])
	}
	if _, err := set(args[1], nil); err != nil {
		return fmt.Errorf("set the agent's token %s: %w", args[0], err)
	}
	fmt.Fprintf(c.Stdout, "ACL token %q set successfully\n", args[0])
	return nil
}
