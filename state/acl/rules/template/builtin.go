package template

// List returns all templates, in the order of their names.
func List() []Template {
	return []Template{
		{TemplateName: "builtin/api-gateway", Schema: named, Template: gatewayRules,
			Description: "Lets an API gateway register, and find the services that it routes to."},
		{TemplateName: "builtin/dns", Template: dnsRules,
			Description: "Lets DNS queries be answered for all nodes, services and prepared queries."},
		{TemplateName: "builtin/node", Schema: named, Template: nodeRules,
			Description: "Lets an agent register its node, and compare what runs on it with the catalog."},
		{TemplateName: "builtin/nomad-client", Template: nomadClientRules,
			Description: "Lets a Nomad client register services and read keys for its jobs."},
		{TemplateName: "builtin/nomad-server", Template: nomadServerRules,
			Description: "Lets a Nomad server register services and make tokens for its jobs."},
		{TemplateName: "builtin/service", Schema: named, Template: serviceRules,
			Description: "Lets a service and its sidecar proxy register, and find other services."},
		{TemplateName: "builtin/workload-identity", Schema: named, Template: workloadRules,
			Description: "Lets a workload act under its identity."},
	}
}

// named is the schema of templates that are made for a name.
const named = `{
  "type": "object",
  "properties": {
    "name": { "type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[A-Za-z0-9_./~:@-]+$" }
  },
  "required": ["name"]
}`

const serviceRules = `# The service and its sidecar proxy are registered.
service "{{.Name}}" {
  policy = "write"
}
service "{{.Name}}-sidecar-proxy" {
  policy = "write"
}
# Others are found.
service_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
`

const nodeRules = `# The agent registers its node.
node "{{.Name}}" {
  policy = "write"
}
# It compares its services and checks with those of the catalog.
service_prefix "" {
  policy = "read"
}
`

const dnsRules = `node_prefix "" {
  policy = "read"
}
service_prefix "" {
  policy = "read"
}
query_prefix "" {
  policy = "read"
}
`

const gatewayRules = `# The gateway is registered.
service "{{.Name}}" {
  policy = "write"
}
# It finds the services, and reads how the mesh is set up.
service_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
mesh = "read"
`

const nomadServerRules = `# Tokens are made for jobs.
acl = "write"
agent_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
service_prefix "" {
  policy = "write"
}
`

const nomadClientRules = `agent_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
service_prefix "" {
  policy = "write"
}
# Templates of jobs read keys.
key_prefix "" {
  policy = "read"
}
`

const workloadRules = `identity "{{.Name}}" {
  policy = "write"
}
`
