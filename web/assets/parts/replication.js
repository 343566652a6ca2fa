// Rules of replication where they touch keys: from where they copy, how far behind they are, and
// what becomes of a write here.
import { html } from '../lib/dom.js'
import { useFeed } from '../lib/feed.js'
import { pathOfKey } from '../lib/router.js'
import { plural } from '../lib/fmt.js'
import { behind, originOf, ruleOf, stateOf, touching, warning } from '../lib/replication.js'
import { Icon, State } from './state.js'

// useRules is the rules of a datacenter; none for who may not read them. While it cannot be asked
// they are as they were.
const useRules = dc => useFeed('operator/kv-replication', { dc }, { every: 5000, blocks: false }).data?.Rules ?? []

const words = r => [behind(r), r.Conflicts > 0 && plural(r.Conflicts, 'conflict'), r.State === 'failing' && r.Error].filter(Boolean)

const From = ({ rule, origin }) => html`<a href=${pathOfKey(rule.Datacenter, origin)}>${rule.Datacenter} <code>${origin || 'all keys'}</code></a>`

const How = ({ rule }) => { const { state, word } = stateOf(rule); return html`<${State} state=${state} word=${word} />` }

const Rule = ({ rule: r }) => html`<li><${How} rule=${r} /><span>
  <code>${r.Target || 'all keys'}</code> ${r.Mode === 'mirror' ? 'mirrors' : 'is shared with'} <${From} rule=${r} origin=${r.Prefix} />
  ${words(r).map(w => ` · ${w}`)}<small>${warning(r)}</small></span></li>`

// Replication lists the rules that copy into a folder, or to something below it.
export function Replication({ dc, folder }) {
  const rules = touching(useRules(dc), folder)
  return rules.length > 0 && html`<section class="panel" aria-labelledby="copies"><h2 id="copies">Copied from elsewhere</h2>
    <ul class="plain copies">${rules.map(r => html`<${Rule} key=${r.Target} rule=${r} />`)}</ul></section>`
}

// Copied says of a key that it is a copy, and what that means for who would change it.
export function Copied({ dc, name }) {
  const rule = ruleOf(useRules(dc), name)
  return rule && html`<div class="notice warn copied"><${Icon} state="warning" size=${20} /><div>
    <p class="what">${rule.Mode === 'mirror' ? 'A copy' : 'Written in two datacenters'}</p>
    <p>${warning(rule)} <${From} rule=${rule} origin=${originOf(rule, name)} /></p>
    <p><${How} rule=${rule} />${words(rule).map(w => ` · ${w}`)}</p></div></div>`
}
