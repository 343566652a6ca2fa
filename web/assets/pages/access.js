// Access control of a datacenter: tokens, policies, roles, auth methods, binding rules, and what
// the token in use may do.
import { html, useEffect, useMemo, useState } from '../lib/dom.js'
import { grantsOf, views } from '../lib/access.js'
import { useFeed } from '../lib/feed.js'
import { settings } from '../lib/settings.js'
import { path, setSearch } from '../lib/router.js'
import { byName, plural, since } from '../lib/fmt.js'
import { Failure, Empty, Loading, Aged } from '../parts/notice.js'
import { Facts } from '../parts/checks.js'
import { useDatacenters } from '../parts/dcs.js'
import { Dialog } from '../parts/dialog.js'
import { Answer, authorize, May } from '../parts/may.js'
import { Links } from '../parts/picks.js'
import { SearchField } from '../parts/search.js'
import { useToken } from '../parts/token.js'
import { List, useNarrow } from '../parts/virtual.js'
import { Actions, Clone, Reasons, Remove } from '../parts/actions.js'
import { useMay } from '../parts/rights.js'
import { RecordPage, isEdited } from './record.js'

const own = 'self'
const shownGrants = 4

// where a grant is looked up; identities have no page.
const places = { policy: 'policies', role: 'roles' }

function Grants({ dc, of }) {
  if (of.length === 0) return html`<p class="muted">It grants nothing.</p>`
  return html`<ul class="plain">${of.map(([kind, name]) => html`<li key=${kind + name}><span class="muted">${kind}</span> ${places[kind] ? html`<a href=${path(dc, 'acls', places[kind]) + '?q=' + encodeURIComponent(name)}>${name}</a>` : name}</li>`)}</ul>`
}

function Rules({ dc, id }) {
  const state = useFeed('acl/policy/' + encodeURIComponent(id), { dc })
  if (!state.data) return state.error ? html`<${Failure} error=${state.error} />` : html`<${Loading} what="the rules" />`
  return html`<h3>Rules</h3><pre class="rules" tabindex="0" aria-label="Rules">${state.data.Rules || 'It has none.'}</pre>`
}

// Record is the dialog of one; who may change access control can change, clone and delete it from there.
function Record({ dc, view, r, onClose }) {
  const may = useMay(dc, 'acl', 'write') && isEdited(view), [chosen, choose] = useState(''), back = () => choose('')
  const buttons = may && !chosen && html`<${Actions} dc=${dc} view=${view} record=${r.record} onChoose=${choose} />`
  return html`<${Dialog} title=${r.name} onClose=${onClose} buttons=${buttons}><${Facts} of=${r.facts} />
    ${['tokens', 'roles'].includes(view) && html`<h3>Grants</h3><${Grants} dc=${dc} of=${r.tags} />`}${r.rules && html`<${Rules} dc=${dc} id=${r.id} />`}
    ${view === 'tokens' && !chosen && html`<h3>May it …</h3><${May} dc=${dc} accessor=${r.id} />`}
    ${view === 'auth-methods' && html`<p class="muted">Its configuration may hold secrets: <code>legate acl auth-method read -name=…</code> shows it.</p>`}
    ${buttons && html`<${Reasons} view=${view} record=${r.record} />`}
    ${chosen === 'remove' && html`<${Remove} dc=${dc} view=${view} record=${r.record} onDone=${onClose} onBack=${back} />`}
    ${chosen === 'clone' && html`<${Clone} dc=${dc} record=${r.record} onBack=${back} />`}</${Dialog}>`
}

// New leads to where one is made, or says what that takes.
function New({ dc, view }) {
  const may = useMay(dc, 'acl', 'write')
  if (may === undefined || !isEdited(view)) return null
  if (!may) return html`<p class="muted">This token may not change ${views[view].title.toLowerCase()}: that takes <code>acl = "write"</code>.</p>`
  return html`<div class="buttons"><a class="button primary" href=${path(dc, 'acls', view, 'create')}>New ${views[view].one}</a></div>`
}

const rowOf = open => r => html`
  <span role="cell" class="main"><button type="button" class="link" aria-haspopup="dialog" onClick=${() => open(r)} title=${r.name}>${r.name}</button><small title=${r.sub}>${r.sub}</small></span>
  <span role="cell" class="tags places">${r.tags.slice(0, shownGrants).map(([kind, name]) => html`<span class="tag" title=${`${kind} ${name}`}>${places[kind] === 'policies' || !kind ? '' : kind + ' '}${name}</span> `)}${r.tags.length > shownGrants && html`<span class="muted">and ${r.tags.length - shownGrants} more</span>`}</span>
  <span role="cell" class="second">${r.first}</span>
  <span role="cell" class="second">${r.ends && (Date.parse(r.ends) > Date.now() ? `in ${since(new Date(2 * Date.now() - Date.parse(r.ends)).toISOString()).replace(' ago', '')}` : 'has ended')}</span>`

function Records({ dc, view, route }) {
  const v = views[view], state = useFeed(v.path, { dc }), [opened, open] = useState(), narrow = useNarrow(), text = (route.search.get('q') ?? '').toLowerCase()
  const rows = useMemo(() => (state.data ?? []).map(v.row).sort((a, b) => byName.compare(a.name, b.name)), [state.data, v])
  const shown = useMemo(() => rows.filter(r => text.split(/\s+/).every(w => r.text.includes(w))), [rows, text]), Row = useMemo(() => rowOf(open), [])
  if (!state.data) return state.error ? html`<${Failure} error=${state.error} />` : html`<${Loading} what=${v.title.toLowerCase()} />`
  return html`${state.error && html`<${Failure} error=${state.error} kept=${state.meta} />`}<${Aged} of=${[{ dc, state }]} />
    <${New} dc=${dc} view=${view} />
    <${SearchField} label="Search names, descriptions and IDs" value=${route.search.get('q') ?? ''} onChange=${q => setSearch({ q })} />
    ${shown.length ? html`<section class="panel access" aria-label=${v.title}><p class="muted count-of" role="status">${plural(shown.length, v.one, v.many)}</p><${List} items=${shown} height=${narrow ? 112 : 56} head=${v.head} row=${Row} label=${v.title} keyOf=${r => r.id} /></section>`
      : html`<${Empty} title=${rows.length ? `No ${v.one} fits` : `There is no ${v.one}`}><p>${rows.length ? 'Change what is searched for above.' : isEdited(view) ? 'Who may change access control makes one above.' : html`Make one with <code>legate acl ${v.one.replace(' ', '-')} create</code>.`}</p></${Empty}>`}
    ${opened && html`<${Record} key=${opened.id} dc=${dc} view=${view} r=${opened} onClose=${() => open(undefined)} />`}`
}

function Own({ dc }) {
  const held = useToken(), state = useFeed('acl/token/self', { dc }), [rights, setRights] = useState()
  useEffect(() => {
    let over = false
    authorize(dc, ['acl', 'operator', 'keyring'].flatMap(r => ['read', 'write'].map(a => ({ Resource: r, Access: a })))).then(all => over || setRights(all), () => over || setRights(undefined))
    return () => { over = true }
  }, [dc, held])
  const t = state.data
  return html`${state.error && html`<${Failure} error=${state.error} kept=${t && state.meta} />`}
    ${t && html`<section class="panel" aria-labelledby="held-token"><h2 id="held-token">${held ? 'Token in use' : 'No token was given: what everybody may'}</h2><${Facts} of=${views.tokens.row(t).facts} /><h3>Grants</h3><${Grants} dc=${dc} of=${grantsOf(t)} /></section>`}
    ${rights && html`<section class="panel" aria-labelledby="whole"><h2 id="whole">Rights of the whole</h2><dl class="facts">${rights.map(r => html`<div key=${r.Resource + r.Access}><dt>${r.Access} ${r.Resource}</dt><dd><${Answer} yes=${r.Allow} /></dd></div>`)}</dl></section>`}
    <section class="panel" aria-labelledby="may"><h2 id="may">May it …</h2><${May} key=${dc + held} dc=${dc} /></section>`
}

export function AccessPage({ route }) {
  const all = useDatacenters(), dc = route.dc ?? settings.datacenter, view = route.name ?? 'tokens'
  if (!settings.access) return html`<h1>Access</h1><${Empty} title="Access is not controlled"><p>Everybody sees and changes everything. <code>acl.enabled</code> and <code>acl.default_policy = "deny"</code> in the configuration of every agent change that.</p></${Empty}>`
  const at = v => path(dc, 'acls', v)
  if (route.item && isEdited(view)) return html`<${RecordPage} dc=${dc} view=${view} id=${route.item} />`
  return html`<div class="title"><h1>Access</h1></div>
    <${Links} label="Datacenters" of=${all.map(d => [d, path(d, 'acls', view), d === dc])} />
    <${Links} label="What there is" of=${[...Object.entries(views).map(([v, { title }]) => [title, at(v), v === view]), ['What this token may do', at(own), view === own]]} />
    ${view === own ? html`<${Own} dc=${dc} />` : views[view] ? html`<${Records} dc=${dc} view=${view} route=${route} />` : html`<${Empty} title="There is no such page"><p><a href=${at('tokens')}>Tokens</a></p></${Empty}>`}`
}
