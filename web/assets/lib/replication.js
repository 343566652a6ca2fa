// What rules of replication mean for keys: which rule copies into a folder, and from where.
import { plural, span } from './fmt.js'
import { isFolder } from './kv.js'

// touching are the rules that copy to a key or folder, or to something below the folder.
export const touching = (rules, name) => rules.filter(r => name.startsWith(r.Target) || (isFolder(name) && r.Target.startsWith(name)))

// ruleOf is the rule that copies to a key.
export const ruleOf = (rules, key) => rules.find(r => key.startsWith(r.Target))

// originOf is the key, or folder, that is copied to one of here.
export const originOf = (rule, key) => key.startsWith(rule.Target) ? rule.Prefix + key.slice(rule.Target.length) : rule.Prefix

const words = {
  following: ['good', 'up to date'], copying: ['good', 'copying'], comparing: ['good', 'comparing'],
  failing: ['bad', 'fails'], paused: ['warn', 'paused'],
}

// stateOf is how a rule is, as a state with a word; one that this page does not know is shown as it is.
export function stateOf(rule) {
  const [state, word] = words[rule.State] ?? ['unknown', rule.State]
  return { state, word }
}

// behind says how far a copy is behind, '' if it is not.
export function behind(rule) {
  const parts = [rule.LagSeconds > 0 && `${span(rule.LagSeconds)} behind`, rule.LagEntries > 0 && `${plural(rule.LagEntries, 'key')} on the way`]
  return parts.filter(Boolean).join(', ')
}

// warning says what becomes of a write into what a rule copies to.
export const warning = rule => rule.Mode === 'mirror'
  ? `This is a copy of what ${rule.Datacenter} has. The agent refuses writes and deletions here: change it in ${rule.Datacenter}.`
  : `${rule.Datacenter} writes here as well. Of two writes the later one stays: yours may be overwritten by one from there.`
