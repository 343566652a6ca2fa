// A service in one datacenter: its instances with their checks, and its names in DNS.
import { html, useState } from '../lib/dom.js'
import { useFeed, useFeeds } from '../lib/feed.js'
import { path } from '../lib/router.js'
import { settings } from '../lib/settings.js'
import { byName, hostPort, plural } from '../lib/fmt.js'
import { standing } from '../lib/standing.js'
import { Icon, State } from '../parts/state.js'
import { Failure, Empty, Loading, Hidden, Aged } from '../parts/notice.js'
import { Checks, Tags, Small, count, stateOf } from '../parts/checks.js'
import { Copy } from '../parts/copy.js'
import { Lookup } from '../parts/lookup.js'

const atOnce = 50 // instances, until more are asked for

// isName says whether a word can stand in a DNS name.
const isName = s => /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(s)

// usePlaces is the datacenters that have a service, each with its instances.
function usePlaces(name) {
  const { data } = useFeed('health/service/' + encodeURIComponent(name), { dc: 'all', cached: true }, { every: 5000, blocks: false })
  return [...Map.groupBy(data ?? [], i => i.Node.Datacenter)].sort(([a], [b]) => byName.compare(a, b))
}

const isWell = i => stateOf(i.Checks) !== 'critical'

function Elsewhere({ dc, name, places }) {
  if (places.length < 2) return null
  return html`<div class="choice" role="group" aria-label="Datacenters that have it">${places.map(([where, list]) => html`
    <a key=${where} class="button" aria-current=${where === dc ? 'true' : undefined} href=${path(where, 'services', name)}><${Small} state=${stateOf(list.flatMap(i => i.Checks))} />${where} <span class="muted">${plural(list.length, 'instance')}</span></a>`)}</div>`
}

// Down says that nobody gets an address, and who else has the service.
function Down({ dc, name, places }) {
  const others = places.map(([where, list]) => [where, list.filter(isWell).length]).filter(([where, well]) => where !== dc && well > 0)
  return html`<div class="notice bad" role="status"><${Icon} state="critical" size=${20} /><div>
    <p class="what">${isName(name) ? `DNS returns no address for ${name} in ${dc}` : `No instance of ${name} in ${dc} can be used`}</p>
    <p>Every instance there is critical, and critical ones are left out. ${others.length === 0 ? 'No other datacenter is known to have one that is not.'
      : html`Elsewhere: ${others.map(([where, well], i) => html`${i > 0 && ', '}<a href=${path(where, 'services', name)}>${where}</a> has ${plural(well, 'instance')} to use`)}.`}</p></div></div>`
}

function Names({ dc, name, instances }) {
  if (!isName(name)) return html`<section class="panel"><h2>DNS</h2><p class="muted">DNS does not find it: its name has other characters than letters, digits and dashes.</p></section>`
  const well = instances.filter(isWell)
  const tags = [...new Set(instances.flatMap(i => i.Service.Tags ?? []))].filter(isName).slice(0, 4)
  const names = [`${name}.service.${dc}.${settings.domain}`, dc === settings.datacenter && `${name}.service.${settings.domain}`, ...tags.map(t => `${t}.${name}.service.${dc}.${settings.domain}`)].filter(Boolean)
  return html`<section class="panel" aria-labelledby="dns"><h2 id="dns">DNS</h2>
    <ul class="plain">${names.map(n => html`<li key=${n} class="named"><${Copy} text=${n} /> <${Lookup} name=${n} /></li>`)}</ul>
    <p class="muted hint">${plural(well.length, 'instance')} of ${instances.length} can be in answers: those that are critical are left out.</p></section>`
}

const Instance = ({ dc, name, of: i }) => html`<li class="instance">
  <div class="instance-head"><${State} state=${stateOf(i.Checks)} /><a href=${path(dc, 'services', name, 'instances', i.Node.Node, i.Service.ID)}>${i.Service.ID}</a>
    <${Copy} text=${hostPort(i.Service.Address || i.Node.Address, i.Service.Port)} /><span>on <a href=${path(dc, 'nodes', i.Node.Node)}>${i.Node.Node}</a></span><span class="tags"><${Tags} of=${i.Service.Tags} /></span></div>
  <${Checks} of=${i.Checks} /></li>`

const rank = { critical: 0, warning: 1, passing: 2 }

export function ServicePage({ route: { dc, name } }) {
  const [state] = useFeeds([{ path: 'health/service/' + encodeURIComponent(name), params: { dc, cached: true } }])
  const places = usePlaces(name), [most, more] = useState(atOnce)
  const list = [...(state.data ?? [])].sort((a, b) => rank[stateOf(a.Checks)] - rank[stateOf(b.Checks)] || a.Node.Node.localeCompare(b.Node.Node, 'en', { numeric: true }) || a.Service.ID.localeCompare(b.Service.ID))
  const how = standing(count(list.map(i => ({ Status: stateOf(i.Checks) }))), dc)
  return html`
    <div class="title"><p class="crumbs"><a href=${path('services')}>Services</a> / <a href=${path(dc, 'services')}>${dc}</a></p><h1>${name}</h1>
      ${list.length > 0 && html`<p class="headline"><${State} state=${how.state} word=${how.text} /></p>`}</div>
    <${Elsewhere} dc=${dc} name=${name} places=${places} />
    ${list.length > 0 && !list.some(isWell) && html`<${Down} dc=${dc} name=${name} places=${places} />`}
    ${state.error && html`<${Failure} error=${state.error} kept=${state.data && state.meta} />`}
    <${Hidden} metas=${[state.meta]} /><${Aged} of=${[{ dc, state }]} />
    ${state.data === undefined ? !state.error && html`<${Loading} what="instances" />` : list.length === 0
      ? html`<${Empty} title=${`There is no service ${name} in ${dc}`}><p>It may have been deregistered, or your token may not see it. <a href=${path('services')}>All services</a></p></${Empty}>`
      : html`<${Names} dc=${dc} name=${name} instances=${list} />
        <section class="panel" aria-labelledby="instances"><h2 id="instances">Instances</h2><ul class="plain">${list.slice(0, most).map(i => html`<${Instance} key=${i.Node.Node + ' ' + i.Service.ID} dc=${dc} name=${name} of=${i} />`)}</ul>
          ${list.length > most && html`<p><button type="button" onClick=${() => more(most + 4 * atOnce)}>Show more of ${list.length}</button></p>`}</section>`}`
}
