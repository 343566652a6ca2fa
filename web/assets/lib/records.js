// Tokens, policies and roles as they are edited: what is sent, what changes, who loses by a deletion.
import { plural } from './fmt.js'

export const management = '00000000-0000-0000-0000-000000000001' // the policy that grants everything
export const readOnly = '00000000-0000-0000-0000-000000000002'
export const anonymous = '00000000-0000-0000-0000-000000000002' // the token of who shows none
export const isBuiltIn = id => id === management || id === readOnly

const within = list => list?.length ? ` in ${list.join(', ')}` : ''

// linesOf says in lines what a record has, for people to compare. No secret is among them.
export function linesOf(view, r) {
  const head = [...view === 'tokens' ? [] : [`Name: ${r.Name ?? ''}`], `Description: ${r.Description ?? ''}`]
  if (view === 'policies') return [...head, `Datacenters: ${r.Datacenters?.join(', ') || 'everywhere'}`, 'Rules:', ...(r.Rules ?? '').split('\n')]
  const ends = r.ExpirationTTL ? `after ${r.ExpirationTTL}` : r.ExpirationTime ?? 'never'
  const once = view === 'tokens' ? [`Counts: ${r.Local ? 'in its datacenter' : 'everywhere'}`, `Ends: ${ends}`] : []
  return [...head, ...once, ...(r.Policies ?? []).map(p => `Policy: ${p.Name}`), ...(r.Roles ?? []).map(p => `Role: ${p.Name}`),
    ...(r.ServiceIdentities ?? []).map(s => `Service: ${s.ServiceName}${within(s.Datacenters)}`),
    ...(r.NodeIdentities ?? []).map(n => `Node: ${n.NodeName} in ${n.Datacenter}`),
    ...(r.TemplatedPolicies ?? []).map(t => `Template: ${[t.TemplateName, t.TemplateVariables?.name].filter(Boolean).join(' ')}${within(t.Datacenters)}`)]
}

// bodyOf is a record as it is sent: without its secret, which stays as it is, and what servers count.
export function bodyOf({ SecretID, Hash, CreateIndex, ModifyIndex, CreateTime, ...r }) {
  return r
}

// sameAs reports whether two readings of a record have the same content: the hash is of the content,
// and the same in every datacenter.
export const sameAs = (a, b) => a.Hash === b.Hash

// namesOf reads names between commas.
export const namesOf = text => text.split(/[,\s]+/).filter(Boolean)

const nameOf = t => t.Name || t.Description || t.AccessorID

// losersOf finds what refers to a policy or a role: { tokens, roles, rules }, as names. Tokens that
// have a policy through a role are among them, each once.
export function losersOf(view, { ID: id, Name: name }, { tokens = [], roles = [], rules = [] }) {
  const linked = (links, ids) => (links ?? []).some(l => ids.has(l.ID)), self = new Set([id])
  const through = view === 'policies' ? roles.filter(r => linked(r.Policies, self)) : []
  const ids = new Set(through.map(r => r.ID)), kind = view === 'policies' ? 'policy' : 'role'
  return {
    tokens: tokens.filter(t => linked(view === 'policies' ? t.Policies : t.Roles, self) || linked(t.Roles, ids)).map(nameOf),
    roles: through.map(r => r.Name),
    rules: rules.filter(b => b.BindType === kind && b.BindName === name).map(b => b.Description || `by ${b.AuthMethod}`),
  }
}

const shown = 10

// listed is how many there are, with the first names.
export function listed(names, one) {
  const more = names.length > shown ? ` and ${(names.length - shown).toLocaleString('en')} more` : ''
  return `${plural(names.length, one)}: ${names.slice(0, shown).join(', ')}${more}`
}

// last reports whether a token is the only one that may do everything.
export function last(token, tokens) {
  const all = t => (t.Policies ?? []).some(p => p.ID === management)
  return all(token) && !tokens.some(t => t.AccessorID !== token.AccessorID && all(t))
}
