// Rules of policies in plain words. What a text of rules says is read by the server, line by line;
// nothing here reads one.

// What a right means for each resource: verbs for its levels, and what the things are called.
const named = {
  service: { read: 'read', write: 'read and register', one: 'the service', many: 'service' },
  node: { read: 'read', write: 'read and register', one: 'the node', many: 'node' },
  key: { read: 'read', list: 'read and list', write: 'read, list and write', one: 'the key', many: 'key' },
  session: { read: 'see sessions on', write: 'see, make and end sessions on', one: 'the node', many: 'node' },
  event: { read: 'see', write: 'see and fire', one: 'the event', many: 'event' },
  query: { read: 'see', write: 'see and change', one: 'the prepared query', many: 'prepared query' },
  agent: { read: 'look into', write: 'look into and control', one: 'the agent', many: 'agent' },
  intention: { read: 'read the intentions of', write: 'read and change the intentions of', one: 'the service', many: 'service' },
}
const whole = {
  acl: ['read tokens, policies and roles, without secrets', 'change tokens, policies and roles, and so get every right'],
  operator: ['see how the servers are, and their settings', 'change the servers and their settings'],
  keyring: ['see the gossip keys', 'change the gossip keys'],
  mesh: ['see the settings of the mesh', 'change the settings of the mesh'],
  peering: ['see peerings', 'change peerings'],
}
const denied = { acl: 'access control', operator: 'the servers', keyring: 'the gossip keys', mesh: 'the mesh', peering: 'peerings' }

// wordsOf says what a rule grants.
export function wordsOf({ Resource: resource, Prefix: prefix, Name: name = '', Access: access }) {
  if (whole[resource]) return access === 'deny' ? `no access to ${denied[resource]}` : whole[resource][access === 'write' ? 1 : 0]
  const words = named[resource]
  if (!words) return 'not explained here'
  const which = prefix && name !== '' ? ` whose name begins with ${name}` : ''
  if (access === 'deny') {
    const of = resource === 'session' ? 'sessions on ' : resource === 'intention' ? 'the intentions of ' : ''
    return `no access to ${of}${prefix ? `any ${words.many}${which}` : `${words.one} ${name}`}`
  }
  return `${words[access] ?? access} ${prefix ? `every ${words.many}${which}` : `${words.one} ${name}`}`
}

// notes puts what is said of a text in the order of its lines: { line, text, fault }. Faults come
// before what is granted in the same line.
export function notes({ Rules, Faults }) {
  const faults = Faults.map(f => ({ line: f.Line ?? 0, text: f.Text, fault: true }))
  const granted = Rules.map(r => ({ line: r.Line, text: wordsOf(r), fault: false }))
  return [...faults, ...granted].sort((a, b) => a.line - b.line || b.fault - a.fault)
}

// templates are texts to begin with.
export const templates = [
  ['An operator who only reads', `node_prefix "" { policy = "read" }
service_prefix "" { policy = "read" }
session_prefix "" { policy = "read" }
key_prefix "" { policy = "read" }
event_prefix "" { policy = "read" }
query_prefix "" { policy = "read" }
operator = "read"
`],
  ['A service', `# registers itself, and finds others
service "web" { policy = "write" }
service_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }
`],
  ['A node', `# its agent registers it, and finds services
node "node-1" { policy = "write" }
service_prefix "" { policy = "read" }
`],
  ['Keys below a prefix', `key_prefix "app/" { policy = "write" }
`],
]

// append puts a template below a text.
export const append = (text, more) => text.trim() === '' ? more : text.replace(/\n*$/, '\n\n') + more
