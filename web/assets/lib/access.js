// Tokens, policies, roles, methods and binding rules as rows of one shape: what is shown of them,
// and never a secret.
const words = (...list) => list.filter(Boolean).join(' ').toLowerCase()

// grantsOf says in words what a token or a role has: [kind, name].
export const grantsOf = g => [
  ...(g.Policies ?? []).map(p => ['policy', p.Name || p.ID]), ...(g.Roles ?? []).map(r => ['role', r.Name || r.ID]), ...(g.ServiceIdentities ?? []).map(s => ['service', s.ServiceName]),
  ...(g.NodeIdentities ?? []).map(n => ['node', n.NodeName]), ...(g.TemplatedPolicies ?? []).map(t => ['template', [t.TemplateName, t.TemplateVariables?.name].filter(Boolean).join(' ')])]

const when = time => (time ?? '').replace(/^(\S{10})T(\S{8})\S*$/, '$1 $2 UTC')
const granted = g => grantsOf(g).map(([, name]) => name)

// views are what there is, each with the path it is asked at and a row of one record.
export const views = {
  tokens: { title: 'Tokens', one: 'token', path: 'acl/tokens', head: ['Token', 'Grants', 'Where', 'Ends'],
    row: t => ({ id: t.AccessorID, record: t, name: t.Name || t.Description || 'without a description', sub: t.AccessorID, tags: grantsOf(t), first: t.Local ? 'this datacenter' : 'everywhere', ends: t.ExpirationTime,
      facts: [['Accessor ID', t.AccessorID], ['Name', t.Name], ['Description', t.Description], ['Where it counts', t.Local ? 'in this datacenter' : 'everywhere'], ['Got by', t.AuthMethod && `auth method ${t.AuthMethod}`], ['Made', when(t.CreateTime)], ['Ends', t.ExpirationTime ? when(t.ExpirationTime) : 'never']],
      text: words(t.AccessorID, t.Name, t.Description, t.AuthMethod, ...granted(t)) }) },
  policies: { title: 'Policies', one: 'policy', many: 'policies', path: 'acl/policies', head: ['Policy', 'Datacenters', '', ''],
    row: p => ({ id: p.ID, record: p, name: p.Name, sub: p.Description, tags: (p.Datacenters ?? []).map(d => ['', d]), first: p.Datacenters?.length ? '' : 'everywhere', rules: true,
      facts: [['ID', p.ID], ['Description', p.Description], ['Where it counts', p.Datacenters?.join(', ') || 'everywhere']], text: words(p.ID, p.Name, p.Description) }) },
  roles: { title: 'Roles', one: 'role', path: 'acl/roles', head: ['Role', 'Grants', '', ''],
    row: r => ({ id: r.ID, record: r, name: r.Name, sub: r.Description, tags: grantsOf(r), facts: [['ID', r.ID], ['Description', r.Description]], text: words(r.ID, r.Name, r.Description, ...granted(r)) }) },
  'auth-methods': { title: 'Auth methods', one: 'auth method', path: 'acl/auth-methods', head: ['Method', 'Type', 'Its tokens', ''],
    row: m => ({ id: m.Name, name: m.DisplayName || m.Name, sub: m.Description || m.Name, tags: [['', m.Type]], first: m.MaxTokenTTL ? `live ${m.MaxTokenTTL}` : 'live for ever',
      facts: [['Name', m.Name], ['Type', m.Type], ['Description', m.Description], ['Its tokens live', m.MaxTokenTTL || 'for ever'], ['Its tokens count', m.TokenLocality === 'global' ? 'everywhere' : 'in this datacenter'], ['Names of its tokens', m.TokenNameFormat]], text: words(m.Name, m.DisplayName, m.Description, m.Type) }) },
  'binding-rules': { title: 'Binding rules', one: 'binding rule', path: 'acl/binding-rules', head: ['Binding rule', 'Who logs in gets', '', ''],
    row: b => ({ id: b.ID, name: `by ${b.AuthMethod}`, sub: b.Selector || 'whoever logs in', tags: [[b.BindType, b.BindName]],
      facts: [['ID', b.ID], ['Auth method', b.AuthMethod], ['Description', b.Description], ['For whom', b.Selector || 'whoever logs in'], ['Gets', `${b.BindType} ${b.BindName}`]], text: words(b.ID, b.AuthMethod, b.Description, b.Selector, b.BindType, b.BindName) }) },
}

// Rights that can be asked about; those of nameless things have no name.
export const nameless = ['acl', 'operator', 'keyring', 'mesh', 'peering']
export const resources = ['service', 'node', 'key', 'session', 'event', 'query', 'agent', 'intention', ...nameless]
export const accesses = resource => resource === 'key' ? ['read', 'list', 'write'] : ['read', 'write']
