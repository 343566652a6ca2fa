package catalogcmd

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/config"
)

// Register is the command services register.
func Register() command.Command {
	return command.Command{
		Name: "services register", Synopsis: "Register services with the local agent", Args: "[FILE...]", Max: -1, Access: command.ToAgent,
		About:   "Registers one service from flags, or those that configuration files (.hcl or .json) define, with their checks.",
		Example: "legate services register -name=web -port=8080 -tag=v1\nlegate services register web.hcl db.json",
		New:     func() command.Action { return &registerAction{} },
	}
}

type registerAction struct {
	id, name, address, socket, kind string
	port                            int
	tags                            command.ListFlag
	meta, tagged                    command.MapFlag
}

func (a *registerAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.id, "id", "", "`ID`, unique on the agent. Default: the name.")
	fs.StringVar(&a.name, "name", "", "`name` of the service.")
	fs.StringVar(&a.address, "address", "", "IP `address` or host name. Default: the node's.")
	fs.IntVar(&a.port, "port", 0, "`port`.")
	fs.StringVar(&a.socket, "socket", "", "`path` of a Unix socket instead of address and port.")
	fs.StringVar(&a.kind, "kind", "", "`kind` of proxy or gateway, passed on.")
	fs.Var(&a.tags, "tag", "`tag`; may be repeated.")
	fs.Var(&a.meta, "meta", "`key=value` kept with the service; may be repeated.")
	fs.Var(&a.tagged, "tagged-address", "`tag=address:port`; may be repeated.")
}

func (a *registerAction) Run(c *command.Call, args []string) error {
	bodies, err := a.bodies(args)
	if err != nil {
		return err
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	for _, b := range bodies {
		if _, err := client.Raw().Write("/v1/agent/service/register", b, nil, &api.WriteOptions{Token: b.token}); err != nil {
			return fmt.Errorf("register service %q: %w", b.Name, err)
		}
		fmt.Fprintf(c.Stdout, "Registered service: %s\n", b.Name)
	}
	return nil
}

func (a *registerAction) bodies(args []string) ([]serviceBody, error) {
	if len(args) == 0 {
		b, err := a.fromFlags()
		return []serviceBody{b}, err
	}
	if a.name != "" || a.id != "" {
		return nil, errors.New("a service comes from flags or from files, not from both")
	}
	services, err := definitions(args)
	if err != nil {
		return nil, err
	}
	bodies := make([]serviceBody, len(services))
	for i := range services {
		bodies[i] = fromDefinition(&services[i])
	}
	return bodies, nil
}

func definitions(files []string) ([]config.ServiceDefinition, error) {
	services, _, err := config.Definitions(config.Sources{Paths: files})
	if err != nil {
		return nil, err
	}
	if len(services) == 0 {
		return nil, fmt.Errorf("no service is defined in %v", files)
	}
	return services, nil
}

func (a *registerAction) fromFlags() (serviceBody, error) {
	if a.name == "" {
		return serviceBody{}, errors.New("give -name, or files that define services")
	}
	b := serviceBody{AgentServiceRegistration: api.AgentServiceRegistration{
		ID: a.id, Name: a.name, Address: a.address, Port: a.port, SocketPath: a.socket,
		Kind: api.ServiceKind(a.kind), Tags: a.tags, Meta: a.meta,
	}}
	for _, tag := range command.SortedKeys(a.tagged) {
		host, port, err := net.SplitHostPort(a.tagged[tag])
		number, errPort := strconv.Atoi(port)
		if err = errors.Join(err, errPort); err != nil {
			return b, fmt.Errorf("read -tagged-address %q: want tag=address:port", tag+"="+a.tagged[tag])
		}
		if b.TaggedAddresses == nil {
			b.TaggedAddresses = map[string]api.ServiceAddress{}
		}
		b.TaggedAddresses[tag] = api.ServiceAddress{Address: host, Port: number}
	}
	return b, nil
}

// serviceBody is a registration with what the client library lacks.
type serviceBody struct {
	api.AgentServiceRegistration
	Check  *struct{}   `json:",omitempty"` // hides the library's: all are in Checks
	Checks []checkBody `json:",omitempty"`
	token  string
}

type checkBody struct {
	api.AgentServiceCheck
	H2PingUseTLS     bool   // false must be sent: the default is true
	DisableRedirects bool   `json:",omitempty"`
	OutputMaxSize    int    `json:",omitempty"`
	OSService        string `json:",omitempty"`
}

func fromDefinition(s *config.ServiceDefinition) serviceBody {
	b := serviceBody{token: s.Token, AgentServiceRegistration: api.AgentServiceRegistration{
		ID: s.ID, Name: s.Name, Kind: api.ServiceKind(s.Kind), Tags: s.Tags, Address: s.Address, Port: s.Port,
		SocketPath: s.SocketPath, Meta: s.Meta, EnableTagOverride: s.EnableTagOverride,
	}}
	if s.Weights != nil {
		b.Weights = &api.AgentWeights{Passing: s.Weights.Passing, Warning: s.Weights.Warning}
	}
	if s.Locality != nil {
		b.Locality = &api.Locality{Region: s.Locality.Region, Zone: s.Locality.Zone}
	}
	for tag, addr := range s.TaggedAddresses {
		if b.TaggedAddresses == nil {
			b.TaggedAddresses = map[string]api.ServiceAddress{}
		}
		b.TaggedAddresses[tag] = api.ServiceAddress{Address: addr.Address, Port: addr.Port}
	}
	for i := range s.Checks {
		b.Checks = append(b.Checks, fromCheck(&s.Checks[i]))
	}
	return b
}

func fromCheck(c *config.CheckDefinition) checkBody {
	return checkBody{
		DisableRedirects: c.DisableRedirects, OutputMaxSize: c.OutputMaxSize, OSService: c.OSService, H2PingUseTLS: c.H2PingUseTLS,
		AgentServiceCheck: api.AgentServiceCheck{
			CheckID: c.ID, Name: c.Name, Notes: c.Notes, Status: c.Status,
			Args: c.Args, DockerContainerID: c.DockerContainerID, Shell: c.Shell, TTL: durationText(c.TTL),
			HTTP: c.HTTP, Method: c.Method, Header: c.Header, Body: c.Body,
			TCP: c.TCP, TCPUseTLS: c.TCPUseTLS, UDP: c.UDP, GRPC: c.GRPC, GRPCUseTLS: c.GRPCUseTLS, H2PING: c.H2Ping,
			TLSServerName: c.TLSServerName, TLSSkipVerify: c.TLSSkipVerify, AliasNode: c.AliasNode, AliasService: c.AliasService,
			Interval: durationText(c.Interval), Timeout: durationText(c.Timeout),
			SuccessBeforePassing: c.SuccessBeforePassing, FailuresBeforeWarning: c.FailuresBeforeWarning,
			FailuresBeforeCritical:         c.FailuresBeforeCritical,
			DeregisterCriticalServiceAfter: durationText(c.DeregisterCriticalServiceAfter),
		},
	}
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// Deregister is the command services deregister.
func Deregister() command.Command {
	return command.Command{
		Name: "services deregister", Synopsis: "Remove services from the local agent", Args: "[FILE...]", Max: -1, Access: command.ToAgent,
		About:   "Removes the service with an ID, or those that configuration files define.",
		Example: "legate services deregister -id=web\nlegate services deregister web.hcl",
		New:     func() command.Action { return &deregisterAction{} },
	}
}

type deregisterAction struct{ id string }

func (a *deregisterAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.id, "id", "", "`ID` of the service.")
}

func (a *deregisterAction) Run(c *command.Call, args []string) error {
	ids, err := a.ids(args)
	if err != nil {
		return err
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := client.Agent().ServiceDeregister(id); err != nil {
			return fmt.Errorf("deregister service %q: %w", id, err)
		}
		fmt.Fprintf(c.Stdout, "Deregistered service: %s\n", id)
	}
	return nil
}

func (a *deregisterAction) ids(args []string) ([]string, error) {
	switch {
	case len(args) == 0 && a.id == "":
		return nil, errors.New("give -id, or files that define services")
	case len(args) == 0:
		return []string{a.id}, nil
	case a.id != "":
		return nil, errors.New("a service comes from -id or from files, not from both")
	}
	services, err := definitions(args)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range services {
		id := s.ID
		if id == "" {
			id = s.Name
		}
		ids = append(ids, id)
	}
	return ids, nil
}
