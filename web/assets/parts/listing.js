// What pages with a long list have in common: which datacenters, a search, an expression, states,
// and what stands there instead of rows.
import { html, useMemo } from '../lib/dom.js'
import { useFeeds } from '../lib/feed.js'
import { setSearch } from '../lib/router.js'
import { Failure, Empty, Loading, Hidden, Aged } from './notice.js'
import { FilterField } from './filter.js'
import { List, useNarrow } from './virtual.js'
import { Choice, chosen, useDatacenters } from './dcs.js'
import { Statuses, SearchField } from './search.js'

// Listing asks each datacenter for what is at a path. of has: page, title and what (one of them); ask, the path;
// selectors of expressions; search, its label; gather, which makes rows of [{ dc, list }], each with a state and a text
// to search in; heights of a row on wide and on narrow screens; head, row and keyOf as those of List; none, shown
// where nothing is.
export function Listing({ route, of }) {
  const all = useDatacenters(), picked = chosen(route, all), narrow = useNarrow()
  const filter = route.search.get('filter') ?? '', text = route.search.get('q') ?? '', state = route.search.get('state') ?? ''
  const states = useFeeds(picked.map(dc => ({ path: of.ask, params: { dc, cached: true, filter } })))
  const asked = picked.map((dc, i) => ({ dc, state: states[i] }))
  const rows = useMemo(() => of.gather(asked.filter(a => a.state.data).map(a => ({ dc: a.dc, list: a.state.data }))), states.map(s => s.data))
  const found = useMemo(() => rows.filter(r => text.toLowerCase().split(/\s+/).every(w => r.text.includes(w))), [rows, text])
  const shown = useMemo(() => state ? found.filter(r => r.state === state) : found, [found, state])
  const wrong = states.find(s => s.error?.kind === 'invalid')?.error
  const failed = asked.filter(a => a.state.error && a.state.error.kind !== 'invalid' && a.state.data === undefined)
  const nothing = rows.length || filter ? html`<${Empty} title=${`No ${of.what} fits`}><p>Change what is searched for above.</p></${Empty}>` : of.none
  return html`
    <div class="title"><h1>${of.title}</h1></div>
    <${Choice} page=${of.page} route=${route} all=${all} picked=${picked} />
    <div class="tools-row"><${SearchField} label=${of.search} value=${text} onChange=${q => setSearch({ q })} />
      <${FilterField} value=${filter} onChange=${f => setSearch({ filter: f })} selectors=${of.selectors} error=${wrong} /></div>
    ${failed.map(a => html`<${Failure} key=${a.dc} error=${a.state.error} />`)}
    <${Hidden} metas=${states.map(s => s.meta)} /><${Aged} of=${asked} />
    ${states.every(s => !s.data && !s.error) ? html`<${Loading} what=${of.page} />` : html`
      <${Statuses} rows=${found} value=${state} onChange=${s => setSearch({ state: s })} what=${of.what} />
      ${shown.length > 0 ? html`<section class=${'panel ' + of.page}><${List} items=${shown} height=${of.heights[narrow ? 1 : 0]} head=${of.head} row=${of.row} label=${of.title} keyOf=${of.keyOf} /></section>`
        : failed.length < asked.length && nothing}`}`
}
